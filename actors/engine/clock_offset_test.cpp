#include "actors/engine/clock_offset.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

TEST(ClockOffset, IsOffByAtMostHalfOfTheQuickestExchange) {
  ClockOffset offset;
  offset.add(10, 110.9, 11);  // the clocks are 100 s apart; the answer was quick, the way there was not
  EXPECT_NEAR(offset.seconds(), 100, 0.5);
  offset.add(20, 120.01, 20.02);
  EXPECT_NEAR(offset.seconds(), 100, 0.01);
  offset.add(30, 130.1, 31);  // says no more than what is known
  EXPECT_NEAR(offset.seconds(), 100, 0.01);
}

TEST(ClockOffset, ExchangesThatLeaveNarrowerBoundsTogetherThanEachAreUsedTogether) {
  ClockOffset offset;
  offset.add(0, -5, 1);     // -6 to -5
  offset.add(10, 4.5, 11);  // -6.5 to -5.5
  EXPECT_DOUBLE_EQ(offset.seconds(), -5.75);
}

TEST(ClockOffset, OneClockIsOneHoweverUnevenTheWays) {
  ClockOffset offset;
  offset.add(10, 10, 11);
  EXPECT_EQ(offset.seconds(), 0);
  offset.add(12, 12.75, 12.75);
  EXPECT_EQ(offset.seconds(), 0);
}

}  // namespace
}  // namespace troupe
