#include "runtime/files/token_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

static_assert(std::endian::native == std::endian::little, "tokens are read as they lie in the file");

constexpr const char* kWhat = "token file";

int64_t bytes_per_token(TokenType type) {
  switch (type) {
    case TokenType::u8:
      return 1;
    case TokenType::u16:
      return 2;
    case TokenType::i32:
      return 4;
  }
  return 0;
}

// Makes integers of n tokens that lie at the end of `out`. No token is overwritten before it is read: behind token i there are
// n - i - 1 others, which need no less room as integers.
template <class Token>
void widen(int32_t* out, int64_t n) {
  const auto* from = reinterpret_cast<const std::byte*>(out + n) - static_cast<size_t>(n) * sizeof(Token);
  for (int64_t i = 0; i < n; ++i) {
    Token token;
    std::memcpy(&token, from + static_cast<size_t>(i) * sizeof token, sizeof token);
    out[i] = token;
  }
}

}  // namespace

TokenFiles::TokenFiles(TokenType type) : type_(type), files_(std::make_unique<OpenFiles>(kWhat)) {}

TokenFiles TokenFiles::open(const std::vector<std::string>& paths, TokenType type) {
  if (paths.empty()) throw PlanError("no token files are given");
  TokenFiles files(type);
  const int64_t width = bytes_per_token(type);
  for (const std::string& path : paths) {
    const int64_t bytes = files.files_->add(path)->size();
    if (bytes == 0) refuse_read(kWhat, path, "it is empty");
    if (bytes % width != 0) {
      refuse_read(kWhat, path,
                  "its " + std::to_string(bytes) + " bytes are no whole number of tokens of " + std::to_string(width) +
                      " bytes");
    }
    files.parts_.push_back({files.size_, bytes / width});
    files.size_ += bytes / width;
  }
  return files;
}

void TokenFiles::copy(int64_t begin, int64_t n, int32_t* out) const {
  CHECK(begin >= 0 && n >= 0 && n <= size_ && begin <= size_ - n, begin, n, size_);
  auto part = std::upper_bound(parts_.begin(), parts_.end(), begin,
                               [](int64_t token, const Part& p) { return token < p.begin; }) -
              1;
  const int64_t width = bytes_per_token(type_);
  while (n > 0) {
    const int64_t first = begin - part->begin;
    const int64_t count = std::min(n, part->size - first);
    const std::span<std::byte> room = std::as_writable_bytes(std::span(out, static_cast<size_t>(count)));
    files_->read(static_cast<size_t>(part - parts_.begin()), first * width,
                 room.last(static_cast<size_t>(count * width)));
    if (type_ == TokenType::u8) widen<uint8_t>(out, count);
    if (type_ == TokenType::u16) widen<uint16_t>(out, count);
    begin += count;
    out += count;
    n -= count;
    ++part;
  }
}

}  // namespace troupe
