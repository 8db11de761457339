#include "actors/engine/token_source.h"

#include <gtest/gtest.h>

#include "actors/engine/test_source.h"
#include "runtime/files/test_dir.h"

namespace troupe {
namespace {

TEST(TokenSource, NamesAFileThatIsCutShortWhileItIsRead) {
  const TestDir dir;
  const std::string path = dir.with_file("a", std::string(10000, 'a'));
  TokenSource source(TokenRows{{path}, TokenType::u8, 0, 10000, 100, 4, 1});
  std::vector<int32_t> out(4 * 100, -1);
  const TensorView view{out.data(), DType::i32, {4, 100}, {0, 0}, {4, 100}};
  EXPECT_EQ(read_piece(source, 0, 0, 0, view), "");
  EXPECT_EQ(out, std::vector<int32_t>(4 * 100, 'a'));
  std::filesystem::resize_file(path, 0);
  const std::string failure = read_piece(source, 0, 0, 0, view);
  EXPECT_TRUE(failure.starts_with("token file '" + path + "' cannot be read: bytes ") &&
              failure.ends_with(" are not there; it had 10000 bytes when it was opened and has become shorter"))
      << failure;
}

}  // namespace
}  // namespace troupe
