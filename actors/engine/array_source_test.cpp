#include "actors/engine/array_source.h"

#include <gtest/gtest.h>

#include <numeric>
#include <span>

#include "actors/engine/parts.h"
#include "actors/engine/test_source.h"
#include "runtime/base/box.h"
#include "runtime/base/error.h"
#include "runtime/files/test_dir.h"
#include "runtime/files/test_npy.h"

namespace troupe {
namespace {

constexpr int64_t kRows = 26, kBatch = 12;  // two batches in a pass, two rows left out

// Rows of 2 x 3 numbers, each with a value of its own; in two files.
class ArraySourceTest : public testing::Test {
 protected:
  ArraySourceTest() : all_(kRows * 6) {
    std::iota(all_.begin(), all_.end(), 0.0f);
    paths_ = {dir_.with_file("a.npy", npy_file<float>("<f4", "(10, 2, 3)", {all_.begin(), all_.begin() + 60})),
              dir_.with_file("b.npy", npy_file<float>("<f4", "(16, 2, 3)", {all_.begin() + 60, all_.end()}))};
  }

  ArraySource source(const RowChoice& choice) const {
    return ArraySource(paths_, std::make_shared<const ArrayFiles>(ArrayFiles::open(paths_)),
                       std::make_shared<const RowOrder>(choice));
  }
  // The part of a piece of `rows` rows; two pieces in a shard.
  std::string read(ArraySource& source, int64_t step, int32_t shard, int32_t piece, const Box& box, int64_t rows) {
    out_.assign(static_cast<size_t>(box.elements()), -1);
    const TensorView view{out_.data(), DType::f32, box.extent, box.offset, {rows, 2, 3}};
    return read_piece(source, step, shard, piece, view);
  }
  // The same, taken from the numbers in memory.
  std::vector<float> expected(const RowChoice& choice, int64_t step, int32_t shard, int32_t piece, const Box& box,
                              int64_t rows) const {
    const RowOrder order(choice);
    std::vector<float> whole;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t row = order.at(step).row((shard * 2 + piece) * rows + i);
      whole.insert(whole.end(), all_.begin() + row * 6, all_.begin() + row * 6 + 6);
    }
    std::vector<float> part(static_cast<size_t>(box.elements()));
    take_part(std::as_bytes(std::span(whole)), {rows, 2, 3}, DType::f32, box, std::as_writable_bytes(std::span(part)));
    return part;
  }

  TestDir dir_;
  std::vector<float> all_;
  std::vector<std::string> paths_;
  std::vector<float> out_;
};

TEST_F(ArraySourceTest, GivesEachDeviceItsPartOfAPiece) {
  for (bool shuffled : {true, false}) {
    const RowChoice choice{kRows, kBatch, 5, shuffled};
    ArraySource from = source(choice);
    for (int64_t step : {0, 1, 2, 7, 1}) {
      for (int32_t piece = 0; piece < 4; ++piece) {
        for (int64_t first = 0; first < 3; ++first) {
          for (int64_t n = 0; first + n <= 3; ++n) {
            for (int64_t a : {0, 1}) {
              for (const Part& columns : {Part{0, 3}, Part{0, 1}, Part{1, 2}}) {
                for (int64_t height = 1; a + height <= 2; ++height) {
                  const Box box{{first, a, columns.offset}, {n, height, columns.size}};
                  ASSERT_EQ(read(from, step, piece / 2, piece % 2, box, 3), "");
                  ASSERT_EQ(out_, expected(choice, step, piece / 2, piece % 2, box, 3)) << box.str();
                }
              }
            }
          }
        }
      }
    }
  }
}

TEST_F(ArraySourceTest, NamesAFileThatIsCutShort) {
  ArraySource from = source({kRows, kBatch, 5, false});
  std::filesystem::resize_file(paths_[0], std::filesystem::file_size(paths_[0]) - 1);
  EXPECT_EQ(read(from, 0, 0, 0, Box::whole({3, 2, 3}), 3), "");
  EXPECT_NE(read(from, 0, 1, 1, Box::whole({3, 2, 3}), 3).find("array file '" + paths_[0] + "' cannot be read: bytes"),
            std::string::npos);
}

TEST_F(ArraySourceTest, IsMadeAgainInAnotherProcess) {
  const RowChoice choice{kRows, kBatch, 9};
  const ArrayRows rows = source(choice).rows();
  std::vector<std::shared_ptr<const RowOrder>> orders;
  const auto again = open_array(rows, orders);
  open_array(rows, orders);
  EXPECT_EQ(orders.size(), 1u);  // one for all arrays of a data set
  ASSERT_EQ(read(*again, 3, 1, 0, Box::whole({3, 2, 3}), 3), "");
  EXPECT_EQ(out_, expected(choice, 3, 1, 0, Box::whole({3, 2, 3}), 3));
  ArrayRows other = rows;
  other.choice.seed = 10;
  open_array(other, orders);
  EXPECT_EQ(orders.size(), 2u);
}

TEST_F(ArraySourceTest, NamesFilesThatAreOthersThanTheDriverHasFound) {
  std::vector<std::shared_ptr<const RowOrder>> orders;
  const ArrayRows rows = source({kRows, kBatch, 9}).rows();
  dir_.with_file("b.npy", npy_file<float>("<f4", "(15, 2, 3)", {all_.begin(), all_.begin() + 90}));
  EXPECT_EQ(
      fault_of([&] { open_array(rows, orders); }),
      "'" + paths_[0] + "' and what belongs to it have 25 rows of f32[2,3] here; the driver found 26 of f32[2,3]");
  std::filesystem::remove(paths_[1]);
  EXPECT_EQ(fault_of([&] { open_array(rows, orders); }),
            "array file '" + paths_[1] + "' cannot be read: No such file or directory");
}

}  // namespace
}  // namespace troupe
