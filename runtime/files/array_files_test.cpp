#include "runtime/files/array_files.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/files/test_dir.h"
#include "runtime/files/test_npy.h"

namespace troupe {
namespace {

std::vector<uint8_t> read(const ArrayFiles& files, int64_t row, int64_t byte, size_t bytes) {
  std::vector<uint8_t> found(bytes, 99);
  files.read(row, byte, std::as_writable_bytes(std::span(found)));
  return found;
}

using Bytes = std::vector<uint8_t>;

TEST(ArrayFiles, AreOneArrayInTheOrderGiven) {
  const TestDir dir;
  const std::string a = dir.with_file("a", npy_file<uint8_t>("|u1", "(2, 3)", {0, 1, 2, 3, 4, 5})),
                    none = dir.with_file("none", npy_file<uint8_t>("|u1", "(0, 3)", {})),
                    b = dir.with_file("b", npy_file<uint8_t>("|u1", "(1, 3)", {6, 7, 8}));
  const ArrayFiles files = ArrayFiles::open({a, none, b, a});
  ASSERT_EQ(files.rows(), 5);
  EXPECT_EQ(files.row_shape(), Shape({3}));
  EXPECT_EQ(files.row_bytes(), 3);
  const Bytes whole = {0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5};
  for (size_t begin = 0; begin < 15; ++begin) {
    for (size_t end = begin; end <= 15; ++end) {
      const auto at = static_cast<int64_t>(begin);
      ASSERT_EQ(read(files, at / 3, at % 3, end - begin),
                Bytes(whole.begin() + at, whole.begin() + static_cast<int64_t>(end)));
    }
  }
}

TEST(ArrayFiles, RefuseToReadBeyondTheEnd) {
  const TestDir dir;
  const ArrayFiles files = ArrayFiles::open({dir.with_file("a", npy_file<uint8_t>("|u1", "(2, 2)", {1, 2, 3, 4}))});
  EXPECT_DEATH(read(files, 1, 1, 2), "row");
  EXPECT_DEATH(read(files, -1, 0, 1), "row");
  EXPECT_DEATH(read(files, 0, 2, 1), "row");
}

TEST(ArrayFiles, NameTheFileThatDoesNotFitOrIsGone) {
  const TestDir dir;
  const std::string a = dir.with_file("a", npy_file<float>("<f4", "(1, 2)", {1, 2})),
                    b = dir.with_file("b", npy_file<float>("<f4", "(1, 3)", {1, 2, 3})),
                    c = dir.with_file("c", npy_file<int32_t>("<i4", "(1, 2)", {1, 2}));
  const auto refusal = [&](std::vector<std::string> paths) { return fault_of([&] { ArrayFiles::open(paths); }); };
  EXPECT_EQ(refusal({a, b}),
            "array file '" + b + "' cannot be read: its rows are f32[3], those of '" + a + "' are f32[2]");
  EXPECT_EQ(refusal({a, c}),
            "array file '" + c + "' cannot be read: its rows are i32[2], those of '" + a + "' are f32[2]");
  EXPECT_EQ(refusal({a, dir / "no"}), "array file '" + dir.path() + "/no' cannot be read: No such file or directory");
  EXPECT_THROW(ArrayFiles::open({}), PlanError);
}

TEST(ArrayFiles, NameAFileThatIsCutShortWhileItIsOpen) {
  const TestDir dir;
  const std::string a = dir.with_file("a", npy_file<uint8_t>("|u1", "(4, 1)", {1, 2, 3, 4}));
  const ArrayFiles files = ArrayFiles::open({a});
  std::filesystem::resize_file(a, std::filesystem::file_size(a) - 2);
  EXPECT_EQ(read(files, 1, 0, 1), Bytes{2});
  EXPECT_NE(fault_of([&] { read(files, 2, 0, 1); }).find("array file '" + a + "' cannot be read: bytes"),
            std::string::npos);
}

}  // namespace
}  // namespace troupe
