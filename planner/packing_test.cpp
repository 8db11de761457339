#include "planner/packing.h"

#include <gtest/gtest.h>

#include "runtime/base/align.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

TEST(Packing, BuffersThatDoNotLiveTogetherShareBytes) {
  const Packing packing = pack({{0, 1, 128}, {2, 3, 128}, {1, 2, 64}});
  EXPECT_EQ(packing.offsets[0], packing.offsets[1]);
  EXPECT_EQ(packing.bytes, 192);
  EXPECT_EQ(packing.peak, 192);
}

TEST(Packing, BuffersThatLiveTogetherNeverOverlapAndStayNearThePeak) {
  double worst = 1;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    std::vector<Lifetime> lifetimes;
    for (int64_t i = random.between(1, 60); i > 0; --i) {
      const int first = static_cast<int>(random.below(40));
      const int last = first + static_cast<int>(random.below(12));
      lifetimes.push_back({first, last, random.chance(0.1) ? 0 : random.between(1, 5000)});
    }
    const Packing packing = pack(lifetimes);
    for (size_t a = 0; a < lifetimes.size(); ++a) {
      EXPECT_EQ(packing.offsets[a] % kArenaAlignment, 0);
      EXPECT_LE(packing.offsets[a] + lifetimes[a].bytes, packing.bytes);
      for (size_t b = 0; b < a; ++b) {
        if (!lifetimes[a].overlaps(lifetimes[b]) || lifetimes[a].bytes == 0 || lifetimes[b].bytes == 0) continue;
        EXPECT_TRUE(packing.offsets[a] + lifetimes[a].bytes <= packing.offsets[b] ||
                    packing.offsets[b] + lifetimes[b].bytes <= packing.offsets[a])
            << "seed " << seed;
      }
    }
    EXPECT_GE(packing.bytes, packing.peak);
    if (packing.peak > 0)
      worst = std::max(worst, static_cast<double>(packing.bytes) / static_cast<double>(packing.peak));
  }
  EXPECT_LT(worst, 1.6);
}

}  // namespace
}  // namespace troupe
