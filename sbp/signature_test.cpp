#include "sbp/signature.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

TEST(Signature, ReadsLikeTheTable) {
  EXPECT_EQ((Signature{{S(0), B}, {S(0)}}).str(), "S(0), B -> S(0)");
  EXPECT_EQ((Signature{{}, {B, P_of(Reduction::max)}}).str(), " -> B, P(max)");
}

}  // namespace
}  // namespace troupe
