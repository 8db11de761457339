#include "sbp/sbp.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace troupe {
namespace {

TEST(Sbp, ReadsBackFromItsText) {
  for (Sbp sbp : {S(0), S(7), B, P, P_of(Reduction::max), P_of(Reduction::min)}) {
    EXPECT_EQ(sbp_from_text(sbp.str()), sbp) << sbp.str();
  }
}

TEST(Sbp, AnUnknownTextIsRefusedWithWhatIsPossible) {
  for (const char* text : {"", "S", "S(8)", "S(-1)", "S(0", "b", "P(avg)"}) {
    EXPECT_THROW(sbp_from_text(text), PlanError) << text;
  }
  try {
    sbp_from_text("S(x)");
  } catch (const PlanError& error) {
    EXPECT_STREQ(error.what(), "'S(x)' is not an SBP; S(0) to S(7), B, P, P(max) or P(min) are possible");
  }
}

TEST(Sbp, KnowsItsKind) {
  EXPECT_TRUE(S(1).is_split_on(1));
  EXPECT_FALSE(S(1).is_split_on(0));
  EXPECT_TRUE(P_of(Reduction::max).is_partial());
  EXPECT_FALSE(P_of(Reduction::max).is_partial_sum());
}

}  // namespace
}  // namespace troupe
