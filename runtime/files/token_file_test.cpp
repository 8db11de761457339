#include "runtime/files/token_file.h"

#include <gtest/gtest.h>

#include "runtime/base/random.h"
#include "runtime/files/test_dir.h"

namespace troupe {
namespace {

std::vector<int32_t> tokens_of(const TokenFiles& files, int64_t begin, int64_t n) {
  std::vector<int32_t> tokens(static_cast<size_t>(n), -99);
  files.copy(begin, n, tokens.data());
  return tokens;
}

using Tokens = std::vector<int32_t>;

TEST(TokenFiles, ReadsBytesAsTokens) {
  const TestDir dir;
  const auto files = TokenFiles::open({dir.with_file("a", "ab\xff")}, TokenType::u8);
  EXPECT_EQ(files.size(), 3);
  EXPECT_EQ(tokens_of(files, 0, 3), (Tokens{'a', 'b', 255}));
}

TEST(TokenFiles, ReadsLittleEndianIntegers) {
  const TestDir dir;
  const std::string path = dir.with_file("a", std::string("\x01\x02\xff\xff\x00\x00\x00\x80", 8));
  EXPECT_EQ(tokens_of(TokenFiles::open({path}, TokenType::u16), 0, 4), (Tokens{0x0201, 0xffff, 0, 0x8000}));
  EXPECT_EQ(tokens_of(TokenFiles::open({path}, TokenType::i32), 0, 2),
            (Tokens{static_cast<int32_t>(0xffff0201), std::numeric_limits<int32_t>::min()}));
}

TEST(TokenFiles, AreOneListInTheOrderGiven) {
  const TestDir dir;
  dir.with_file("a", "abc"), dir.with_file("b", "d"), dir.with_file("c", "efgh");
  const auto files = TokenFiles::open({dir / "a", dir / "b", dir / "c", dir / "a"}, TokenType::u8);
  const std::string whole = "abcdefghabc";
  ASSERT_EQ(files.size(), 11);
  for (int64_t begin = 0; begin <= 11; ++begin) {
    for (int64_t n = 0; begin + n <= 11; ++n) {
      const Tokens expected(whole.begin() + begin, whole.begin() + begin + n);
      ASSERT_EQ(tokens_of(files, begin, n), expected) << begin << " " << n;
    }
  }
}

TEST(TokenFiles, NamesTheFileThatCannotBeRead) {
  const TestDir dir;
  const std::string good = dir.with_file("good", "abcd"), empty = dir.with_file("empty", ""),
                    odd = dir.with_file("odd", "abc");
  const auto refusal = [&](const std::string& path, TokenType type) {
    return fault_of([&] { TokenFiles::open({good, path}, type); });
  };
  EXPECT_EQ(refusal(dir / "no", TokenType::u8),
            "token file '" + dir.path() + "/no' cannot be read: No such file or directory");
  EXPECT_EQ(refusal(dir.path(), TokenType::u8), "token file '" + dir.path() + "' cannot be read: it is not a file");
  EXPECT_EQ(refusal(empty, TokenType::u8), "token file '" + empty + "' cannot be read: it is empty");
  EXPECT_EQ(refusal(odd, TokenType::u16),
            "token file '" + odd + "' cannot be read: its 3 bytes are no whole number of tokens of 2 bytes");
  EXPECT_EQ(refusal(odd, TokenType::i32),
            "token file '" + odd + "' cannot be read: its 3 bytes are no whole number of tokens of 4 bytes");
  EXPECT_THROW(TokenFiles::open({}, TokenType::u8), PlanError);
}

TEST(TokenFiles, WidenLongRuns) {
  const TestDir dir;
  std::string text;
  Tokens bytes, pairs;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7 % 256), bytes.push_back(i * 7 % 256);
  for (size_t i = 0; i < 1000; i += 2) pairs.push_back(bytes[i] + 256 * bytes[i + 1]);
  const std::string path = dir.with_file("a", text);
  EXPECT_EQ(tokens_of(TokenFiles::open({path}, TokenType::u8), 0, 1000), bytes);
  EXPECT_EQ(tokens_of(TokenFiles::open({path}, TokenType::u16), 0, 500), pairs);
}

TEST(TokenFiles, NameAFileThatIsCutShortWhileItIsOpen) {
  const TestDir dir;
  const std::string a = dir.with_file("a", "abcd"), b = dir.with_file("b", std::string(8192, 'b'));
  const auto files = TokenFiles::open({a, b}, TokenType::u16);
  std::filesystem::resize_file(b, 100);
  EXPECT_EQ(tokens_of(files, 0, 3), (Tokens{'a' + 256 * 'b', 'c' + 256 * 'd', 'b' + 256 * 'b'}));
  EXPECT_EQ(fault_of([&] { tokens_of(files, 50, 20); }),
            "token file '" + b +
                "' cannot be read: bytes 100 to 136 are not there; it had 8192 bytes when it was opened and has become "
                "shorter");
  EXPECT_EQ(
      fault_of([&] { tokens_of(files, 4000, 1); }).find("token file '" + b + "' cannot be read: bytes 7996 to 7998"),
      0U);
}

TEST(TokenFiles, RefusesToReadBeyondTheEnd) {
  const TestDir dir;
  const auto files = TokenFiles::open({dir.with_file("a", "abc")}, TokenType::u8);
  int32_t out[8];
  EXPECT_DEATH(files.copy(1, 3, out), "begin");
  EXPECT_DEATH(files.copy(-1, 1, out), "begin");
}

}  // namespace
}  // namespace troupe
