#include "sbp/sbp.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/base/error.h"

namespace troupe {
namespace {

TEST(Sbp, ReadsBackFromItsText) {
  for (Sbp sbp : {S(0), S(7), S_shifted(1, 12), S_mirrored(2), B, P, P_of(Reduction::max), P_of(Reduction::min)}) {
    EXPECT_EQ(sbp_from_text(sbp.str()), sbp) << sbp.str();
  }
}

TEST(Sbp, AnUnknownTextIsRefusedWithWhatIsPossible) {
  for (const char* text :
       {"", "S", "S(8)", "S(-1)", "S(0", "b", "P(avg)", "S(0)+", "S(0)+0", "S(0)-1", "S(0)+1x", "S(0)~1"}) {
    EXPECT_THROW(sbp_from_text(text), PlanError) << text;
  }
  try {
    sbp_from_text("S(x)");
  } catch (const PlanError& error) {
    EXPECT_STREQ(error.what(), "'S(x)' is not an SBP; S(0) to S(7), B, P, P(max) or P(min) are possible");
  }
}

TEST(Sbp, ASplitMayHaveItsPartsInAnotherOrder) {
  const auto parts = [](Sbp sbp) {
    return std::vector<int>{sbp.part(0, 4), sbp.part(1, 4), sbp.part(2, 4), sbp.part(3, 4)};
  };
  EXPECT_EQ(parts(S(0)), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(parts(S_shifted(0, 1)), (std::vector<int>{3, 0, 1, 2}));
  EXPECT_EQ(parts(S_shifted(0, 5)), (std::vector<int>{3, 0, 1, 2}));
  EXPECT_EQ(parts(S_mirrored(0)), (std::vector<int>{3, 2, 1, 0}));
}

TEST(Sbp, KnowsItsKind) {
  EXPECT_TRUE(S(1).is_split_on(1));
  EXPECT_FALSE(S(1).is_split_on(0));
  EXPECT_TRUE(P_of(Reduction::max).is_partial());
  EXPECT_FALSE(P_of(Reduction::max).is_partial_sum());
}

}  // namespace
}  // namespace troupe
