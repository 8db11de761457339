#include <gtest/gtest.h>

#include <thread>

#include "actors/engine/lane_table.h"
#include "runtime/device/arena.h"

namespace troupe {
namespace {

Message numbered(int64_t version) {
  Message message;
  message.version = version;
  return message;
}

// A lane in memory of its own, with both ends.
struct TestLane {
  explicit TestLane(int64_t messages)
      : capacity(Lane::capacity_for(messages)),
        memory(static_cast<int64_t>(Lane::bytes_for(capacity))),
        sender(Lane(memory.data(), capacity)),
        receiver(Lane(memory.data(), capacity)) {}
  void stage(const Message& message) { sender.stage(message); }
  void publish() { sender.publish(); }
  bool take(Message& message) { return receiver.take(message); }
  bool empty() const { return receiver.empty(); }

  size_t capacity;
  Arena memory;
  LaneSender sender;
  LaneReceiver receiver;
};

TEST(Lane, ShowsWhatIsPublishedInOrder) {
  TestLane lane(3);
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
  TestLane lane(3);
  EXPECT_EQ(lane.capacity, 4u);
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
  TestLane lane(2);
  lane.stage(numbered(0));
  lane.stage(numbered(1));
  EXPECT_DEATH(lane.stage(numbered(2)), "lane is full");
}

TEST(Lane, CarriesMessagesBetweenThreads) {
  TestLane there(8);
  TestLane back(8);  // credits
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

TEST(Lane, GoesOnWhereItStoodForNewEnds) {
  TestLane lane(2);
  Message message;
  lane.stage(numbered(0));
  lane.publish();
  ASSERT_TRUE(lane.take(message));
  const Lane same(lane.memory.data(), lane.capacity);
  LaneSender sender(same);
  sender.stage(numbered(1));
  sender.stage(numbered(2));
  sender.publish();
  LaneReceiver receiver(same);
  ASSERT_TRUE(receiver.take(message));
  EXPECT_EQ(message.version, 1);
  ASSERT_TRUE(lane.take(message));
  EXPECT_EQ(message.version, 2);
  EXPECT_FALSE(receiver.take(message));
}

TEST(LaneTable, GivesEachPairALaneOfItsOwnAndNeverShrinks) {
  LaneTable table(3);
  ASSERT_TRUE(table.grow([](int from, int to) { return from == to ? 0 : from + 3 * to; }));
  EXPECT_FALSE(table.grow([](int, int) { return 0; }));
  const Arena memory(static_cast<int64_t>(table.bytes()));
  table.place(memory.data());
  EXPECT_FALSE(table.lane(1, 1));
  for (int from = 0; from < 3; ++from) {
    for (int to = 0; to < 3; ++to) {
      if (from == to) continue;
      LaneSender sender(table.lane(from, to));
      for (int i = 0; i < from + 3 * to; ++i) sender.stage(numbered(10 * from + to));
      sender.publish();
    }
  }
  for (int from = 0; from < 3; ++from) {
    for (int to = 0; to < 3; ++to) {
      if (from == to) continue;
      LaneReceiver receiver(table.lane(from, to));
      Message message;
      for (int i = 0; i < from + 3 * to; ++i) {
        ASSERT_TRUE(receiver.take(message));
        ASSERT_EQ(message.version, 10 * from + to);
      }
      EXPECT_FALSE(receiver.take(message));
    }
  }
  EXPECT_TRUE(table.grow([](int from, int to) { return from == 0 && to == 1 ? 100 : 0; }));
}

}  // namespace
}  // namespace troupe
