#include "actors/engine/feed_post.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "actors/engine/sample_graphs.h"
#include "runtime/base/error.h"
#include "runtime/files/test_dir.h"
#include "runtime/files/test_npy.h"

namespace troupe {
namespace {

FedBatch batch(int32_t value) {
  const auto memory = std::make_shared<int32_t>(value);
  FedBatch made;
  made.arrays["x"] = {DType::i32, {1}, reinterpret_cast<const std::byte*>(memory.get())};
  made.memory = memory;
  return made;
}

int32_t value_of(const Command& command) {
  const auto& given = std::get<HandOver>(command);
  const Arena memory = Arena::open(given.memory);
  return *reinterpret_cast<const int32_t*>(memory.data() + given.arrays.at(0).offset);
}

int shared_arenas() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("memfd:troupe") != std::string::npos;
  return count;
}

TEST(FeedPost, SendsEachBatchOnceAndAgainWhenItWasReplaced) {
  FeedPost post;
  const auto feed = std::make_shared<Feed>();
  const FeedSource source(feed, "x");
  EXPECT_EQ(post.spec_of("data", source).feed, post.spec_of("again", source).feed);
  feed->put(3, batch(30));
  feed->put(4, batch(40));
  std::vector<Command> news = post.news();
  ASSERT_EQ(news.size(), 2u);
  EXPECT_EQ(value_of(news[0]), 30);
  EXPECT_EQ(value_of(news[1]), 40);
  EXPECT_EQ(std::get<HandOver>(news[1]).oldest, 3);
  EXPECT_TRUE(post.news().empty());
  feed->put(4, batch(41));
  news = post.news();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(value_of(news[0]), 41);
}

// Whoever has not opened its memory yet finds it where it was.
TEST(FeedPost, SendsAgainWhatMayNotHaveComeFromTheSameMemory) {
  FeedPost post;
  const auto feed = std::make_shared<Feed>();
  post.spec_of("data", FeedSource(feed, "x"));
  feed->put(3, batch(30));
  feed->put(4, batch(40));
  const std::vector<Command> first = post.news();
  feed->drop_before(4);
  post.send_again();
  const std::vector<Command> again = post.news();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(value_of(again[0]), 40);
  EXPECT_EQ(std::get<HandOver>(again[0]).memory.file, std::get<HandOver>(first.at(1)).memory.file);
  EXPECT_TRUE(post.news().empty());
}

TEST(FeedPost, LetsMemoryGoWithTheBatchesAndTheFeed) {
  FeedPost post;
  auto feed = std::make_shared<Feed>();
  const int64_t id = post.spec_of("data", FeedSource(feed, "x")).feed;
  feed->put(0, batch(1));
  const int before = shared_arenas();
  ASSERT_EQ(post.news().size(), 1u);
  EXPECT_EQ(shared_arenas(), before + 1);
  feed->drop_before(1);
  feed->put(1, batch(2));
  EXPECT_EQ(std::get<HandOver>(post.news().at(0)).oldest, 1);
  EXPECT_EQ(shared_arenas(), before + 1);
  feed.reset();
  const std::vector<Command> news = post.news();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(std::get<DropFeed>(news[0]).feed, id);
  EXPECT_EQ(shared_arenas(), before);
  EXPECT_TRUE(post.news().empty());
}

TEST(FeedPost, DescribesRowsOfFiles) {
  const TestDir dir;
  const std::string path = dir.with_file("a.npy", npy_file<float>("<f4", "(3, 2)", {1, 2, 3, 4, 5, 6}));
  const auto order = std::make_shared<const RowOrder>(RowChoice{3, 2, 7});
  const ArraySource source({path}, std::make_shared<const ArrayFiles>(ArrayFiles::open({path})), order);
  FeedPost post;
  const SourceSpec spec = post.spec_of("data", source);
  EXPECT_EQ(spec.feed, -1);
  EXPECT_EQ(spec.array_rows.paths, std::vector<std::string>{path});
  EXPECT_EQ(spec.array_rows.row_shape, std::vector<int64_t>{2});
  EXPECT_EQ(spec.array_rows.choice, order->choice());
  EXPECT_TRUE(post.news().empty());
}

TEST(FeedPost, RefusesASourceOfThisProcessAlone) {
  FeedPost post;
  EXPECT_THROW(post.spec_of("data", SampleSource(1)), PlanError);
}

}  // namespace
}  // namespace troupe
