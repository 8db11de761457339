// Token files: text as a list of token ids, raw and without a header, read where tokens are needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files/open_files.h"

namespace troupe {

// How a token is stored: one byte, or little-endian integers.
enum class TokenType : uint8_t { u8, u16, i32 };

// Several files as one list of tokens, in the order given. Moved only; reads are thread-safe.
class TokenFiles {
 public:
  // Throws FaultError for a file that is missing, empty, unreadable or no whole number of tokens, PlanError
  // for an empty list of files.
  static TokenFiles open(const std::vector<std::string>& paths, TokenType type);

  int64_t size() const { return size_; }  // in tokens
  // Tokens [begin, begin + n) to `out`. Throws FaultError for a file that has become shorter.
  void copy(int64_t begin, int64_t n, int32_t* out) const;

 private:
  struct Part {
    int64_t begin;  // of its first token in the whole list
    int64_t size;
  };
  explicit TokenFiles(TokenType type);

  TokenType type_;
  std::unique_ptr<OpenFiles> files_;
  std::vector<Part> parts_;  // by file
  int64_t size_ = 0;
};

}  // namespace troupe
