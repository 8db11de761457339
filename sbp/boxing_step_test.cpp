#include "sbp/boxing_step.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

TEST(BoxingStep, AnAxisGathersOrScattersAloneOnlyWhenItIsMinorMost) {
  const Mesh mesh({{"dp", 2}, {"tp", 2}});
  const Layout dp_major(mesh, {S(0), S(0)});
  EXPECT_FALSE(step_on_axis(dp_major, 0, B).has_value());
  EXPECT_FALSE(step_on_axis(dp_major, 0, P).has_value());
  EXPECT_EQ(step_on_axis(dp_major, 1, B)->str(), "all_gather(axis=tp, dim=0): S(0),S(0) -> S(0),B");
  EXPECT_EQ(step_on_axis(Layout(mesh, {P, S(0)}), 0, S(0))->str(),
            "reduce_scatter(axis=dp, dim=0): P,S(0) -> S(0),S(0) order tp>dp");
}

TEST(BoxingStep, NothingAndOtherKindsOfPartialAreNoStep) {
  const Layout p(Mesh({{"x", 2}}), {P});
  EXPECT_FALSE(step_on_axis(p, 0, P).has_value());
  EXPECT_FALSE(step_on_axis(p, 0, P_of(Reduction::max)).has_value());
}

TEST(BoxingStep, AxesOfSizeOneAreLeftOutOfTheOrder) {
  const Mesh mesh({{"a", 2}, {"b", 1}, {"c", 2}});
  EXPECT_EQ(without_trivial_axes(Layout(mesh, {S(0), S(0), S(0)}, {2, 1, 0})).str(), "S(0),B,S(0) order c>a");
  EXPECT_EQ(without_trivial_axes(Layout(mesh, {P, P, B})).str(), "P,B,B");
}

TEST(BoxingStep, PartsAreTheSameWhenEveryDeviceHoldsTheSameBox) {
  const Layout line(Mesh({{"x", 4}}), {S(0)});
  const Layout grid(Mesh({{"a", 2}, {"b", 2}}), {S(0), S(0)});
  EXPECT_TRUE(same_parts(line, grid, {8}));
  EXPECT_FALSE(same_parts(line, Layout(grid.mesh(), {S(0), S(0)}, {1, 0}), {8}));
  // 6 rows over 4 devices are 2, 2, 1, 1; halves of 3 cut again are 2, 1, 2, 1.
  EXPECT_FALSE(same_parts(line, grid, {6}));
  EXPECT_FALSE(same_parts(Layout(line.mesh(), {P}), Layout(line.mesh(), {B}), {8}));
}

TEST(BoxingStep, OnePullReducesByOneReductionFromTheInside) {
  const Mesh mesh({{"a", 2}, {"b", 2}});
  const Layout mixed(mesh, {P, P_of(Reduction::max)});
  EXPECT_FALSE(can_pull(mixed, Layout(mesh, {B, B})));
  EXPECT_FALSE(can_pull(mixed, mixed.with(0, B)));
  EXPECT_TRUE(can_pull(mixed, mixed.with(1, B)));
}

}  // namespace
}  // namespace troupe
