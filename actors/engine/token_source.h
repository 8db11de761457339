// Rows of consecutive tokens from files, read by each device for itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/device/source.h"
#include "runtime/files/token_file.h"
#include "runtime/files/token_windows.h"

namespace troupe {

// Everything that says which tokens a batch holds, so that any process can read them.
struct TokenRows {
  std::vector<std::string> paths;
  TokenType type = TokenType::u8;
  int64_t first = 0;  // windows are counted from this token of the files: for the target one further than for the input
  int64_t tokens = 0;  // from which windows are drawn
  int64_t seq = 0;
  int64_t batch = 0;  // rows
  uint64_t seed = 0;
};

class TokenSource final : public Source {
 public:
  // Throws as TokenFiles::open and TokenWindows::shuffled do.
  explicit TokenSource(const TokenRows& rows);
  // With files that are open already.
  TokenSource(std::shared_ptr<const TokenFiles> files, TokenRows rows);

  bool ready(int64_t) const override { return true; }
  void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) override;
  const TokenRows& rows() const { return rows_; }

 private:
  std::shared_ptr<const TokenFiles> files_;
  TokenRows rows_;
  TokenWindows windows_;
};

}  // namespace troupe
