#include "actors/engine/feed.h"

#include <gtest/gtest.h>

#include <numeric>

#include "actors/engine/test_source.h"

namespace troupe {
namespace {

FedBatch batch(float first) {
  const auto memory = std::make_shared<std::vector<float>>(12);
  std::iota(memory->begin(), memory->end(), first);
  FedBatch made;
  made.arrays["x"] = {DType::f32, {6, 2}, reinterpret_cast<const std::byte*>(memory->data())};
  made.memory = memory;
  return made;
}

class FeedTest : public testing::Test {
 protected:
  // The part [offset, offset + shape) of a piece of `rows` rows.
  std::string read(int64_t step, int32_t shard, int32_t piece, const Dims& offset, const Shape& shape, int64_t rows) {
    out_.assign(static_cast<size_t>(shape.elements()), -1);
    const TensorView view{out_.data(), DType::f32, shape, offset, {rows, 2}};
    return read_piece(source_, step, shard, piece, view);
  }

  std::shared_ptr<Feed> feed_ = std::make_shared<Feed>();
  FeedSource source_{feed_, "x"};
  std::vector<float> out_;
};

TEST_F(FeedTest, GivesEachDeviceItsPartOfAPiece) {
  feed_->put(4, batch(0));
  EXPECT_EQ(read(4, 1, 0, {0, 0}, {1, 2}, 1), "");  // the third row
  EXPECT_EQ(out_, (std::vector<float>{4, 5}));
  EXPECT_EQ(read(4, 0, 1, {1, 1}, {2, 1}, 3), "");  // of rows 3 to 5 the last two, their second column
  EXPECT_EQ(out_, (std::vector<float>{9, 11}));
}

TEST_F(FeedTest, IsReadyForTheStepsThatWerePut) {
  feed_->put(0, batch(0));
  feed_->put(1, batch(100));
  EXPECT_TRUE(source_.ready(0));
  EXPECT_FALSE(source_.ready(2));
  feed_->drop_before(1);
  EXPECT_FALSE(source_.ready(0));
  EXPECT_EQ(feed_->steps(), std::vector<int64_t>{1});
}

TEST_F(FeedTest, SaysWhatIsWrongWithABatch) {
  feed_->put(0, batch(0));
  EXPECT_EQ(read(1, 0, 0, {0, 0}, {1, 2}, 1), "the batch of step 1 has no array 'x'");
  EXPECT_EQ(read(0, 3, 0, {0, 0}, {1, 2}, 1), "array 'x' of step 0 is f32[6,2], too small for the plan");
}

}  // namespace
}  // namespace troupe
