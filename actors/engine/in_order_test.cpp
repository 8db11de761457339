#include "actors/engine/in_order.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/base/random.h"

namespace troupe {
namespace {

std::vector<int> take_all(InOrder<int>& messages) {
  std::vector<int> all;
  while (const std::optional<int> next = messages.take()) all.push_back(*next);
  return all;
}

TEST(InOrder, GivesEachOnceInTheOrderOfSendingHoweverTheyCome) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    InOrder<int> messages;
    std::vector<int> given;
    std::vector<int> sent;
    std::vector<uint64_t> under_way;
    for (int number = 1; number <= 50; ++number) {
      sent.push_back(number);
      for (int64_t copies = random.between(1, 3); copies > 0; --copies) {
        under_way.push_back(static_cast<uint64_t>(number));
      }
    }
    while (!under_way.empty()) {
      const auto which = random.below(std::ssize(under_way));
      const uint64_t number = under_way[static_cast<size_t>(which)];
      under_way.erase(under_way.begin() + which);
      messages.put(number, static_cast<int>(number), 0);
      for (int each : take_all(messages)) given.push_back(each);
    }
    EXPECT_EQ(given, sent);
  }
}

TEST(InOrder, TellsSinceWhenOneIsMissing) {
  InOrder<int> messages;
  messages.put(1, 1, 5);
  EXPECT_EQ(take_all(messages), (std::vector<int>{1}));
  EXPECT_EQ(messages.missing_since(), std::nullopt);
  messages.put(3, 3, 6);
  messages.put(4, 4, 7);
  messages.put(1, 1, 8);
  EXPECT_TRUE(take_all(messages).empty());
  EXPECT_EQ(messages.missing_since(), 6);
  EXPECT_EQ(messages.due(), 2u);
  messages.put(2, 2, 9);
  EXPECT_EQ(messages.missing_since(), std::nullopt);  // it is here, though not taken
  EXPECT_EQ(take_all(messages), (std::vector<int>{2, 3, 4}));
  EXPECT_EQ(messages.missing_since(), std::nullopt);
}

}  // namespace
}  // namespace troupe
