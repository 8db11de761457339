#include "actors/engine/lane.h"

#include <gtest/gtest.h>

#include <thread>

namespace troupe {
namespace {

Message numbered(int64_t version) {
  Message message;
  message.version = version;
  return message;
}

TEST(Lane, ShowsWhatIsPublishedInOrder) {
  Lane lane;
  lane.reserve(3);
  Message message;
  lane.stage(numbered(1));
  EXPECT_FALSE(lane.take(message));
  EXPECT_TRUE(lane.empty());
  lane.stage(numbered(2));
  lane.publish();
  EXPECT_FALSE(lane.empty());
  ASSERT_TRUE(lane.take(message));
  EXPECT_EQ(message.version, 1);
  ASSERT_TRUE(lane.take(message));
  EXPECT_EQ(message.version, 2);
  EXPECT_FALSE(lane.take(message));
}

TEST(Lane, RoomIsUsedAgain) {
  Lane lane;
  lane.reserve(3);
  EXPECT_EQ(lane.capacity(), 4u);
  Message message;
  for (int64_t i = 0; i < 100; ++i) {
    for (int64_t k = 0; k < 4; ++k) lane.stage(numbered(4 * i + k));
    lane.publish();
    for (int64_t k = 0; k < 4; ++k) {
      ASSERT_TRUE(lane.take(message));
      ASSERT_EQ(message.version, 4 * i + k);
    }
  }
}

TEST(LaneDeathTest, MoreThanCreditsAllowIsABug) {
  Lane lane;
  lane.reserve(2);
  lane.stage(numbered(0));
  lane.stage(numbered(1));
  EXPECT_DEATH(lane.stage(numbered(2)), "lane is full");
}

TEST(Lane, CarriesMessagesBetweenThreads) {
  Lane there;
  Lane back;  // credits
  there.reserve(8);
  back.reserve(8);
  constexpr int64_t kMessages = 20000;
  std::thread receiver([&] {
    Message message;
    for (int64_t i = 0; i < kMessages;) {
      if (!there.take(message)) {
        std::this_thread::yield();
        continue;
      }
      ASSERT_EQ(message.version, i++);
      back.stage(message);
      back.publish();
    }
  });
  int64_t credits = 8;
  Message message;
  for (int64_t i = 0; i < kMessages;) {
    while (back.take(message)) ++credits;
    if (credits == 0) {
      std::this_thread::yield();
      continue;
    }
    --credits;
    there.stage(numbered(i++));
    there.publish();
  }
  receiver.join();
}

}  // namespace
}  // namespace troupe
