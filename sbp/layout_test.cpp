#include "sbp/layout.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace troupe {
namespace {

Mesh grid(int dp, int tp) { return Mesh({{"dp", dp}, {"tp", tp}}); }

// The rows that the devices at `positions` hold together.
std::vector<int64_t> rows_of(const Layout& layout, const Shape& shape, const std::vector<int>& positions) {
  std::vector<int64_t> rows;
  for (int position : positions) {
    const Box box = layout.box(shape, position);
    for (int64_t i = 0; i < box.extent[0]; ++i) rows.push_back(box.offset[0] + i);
  }
  return rows;
}

TEST(Layout, TheMajorAxisCutsFirstAndTheMinorOneCutsItsPart) {
  const Mesh mesh = grid(2, 2);
  const Layout dp_major(mesh, {S(0), S(0)});
  const Layout tp_major(mesh, {S(0), S(0)}, {1, 0});
  const std::vector<int> dp_group_of_tp_0 = mesh.group(0, 0);
  EXPECT_EQ(rows_of(dp_major, {8}, dp_group_of_tp_0), (std::vector<int64_t>{0, 1, 4, 5}));
  EXPECT_EQ(rows_of(tp_major, {8}, dp_group_of_tp_0), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Layout, UnevenPartsAreLongerFirstAndMayBeEmpty) {
  const Layout layout(Mesh({{"x", 4}}), {S(1)});
  std::vector<std::string> boxes;
  for (int i = 0; i < 4; ++i) boxes.push_back(layout.box({2, 6}, i).str());
  EXPECT_EQ(boxes, (std::vector<std::string>{"[0:2,0:2]", "[0:2,2:4]", "[0:2,4:5]", "[0:2,5:6]"}));
  EXPECT_EQ(layout.box({2, 3}, 3).str(), "[0:2,3:3]");
  EXPECT_TRUE(layout.box({2, 3}, 3).empty());
}

TEST(Layout, NestedCutsOfAnUnevenDimFollowTheOrder) {
  // 5 rows: dp-major halves of 3 and 2, each cut in two; tp-major the same with the other axis outside.
  EXPECT_EQ(rows_of(Layout(grid(2, 2), {S(0), S(0)}), {5}, {0}), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(rows_of(Layout(grid(2, 2), {S(0), S(0)}), {5}, {1}), (std::vector<int64_t>{2}));
  EXPECT_EQ(rows_of(Layout(grid(2, 2), {S(0), S(0)}, {1, 0}), {5}, {1}), (std::vector<int64_t>{3}));
}

TEST(Layout, PartialAndBroadcastAxesHoldTheWholeExtent) {
  EXPECT_EQ(Layout(grid(2, 2), {P, B}).box({4, 6}, 3), Box::whole({4, 6}));
  EXPECT_EQ(Layout(grid(2, 2), {P, S(1)}).box({4, 6}, 3).str(), "[0:4,3:6]");
}

TEST(Layout, AnOrderThatSaysNothingNewIsTheSameLayout) {
  const Mesh mesh = grid(2, 2);
  EXPECT_EQ(Layout(mesh, {S(0), S(1)}, {1, 0}), Layout(mesh, {S(0), S(1)}));
  EXPECT_EQ(Layout(mesh, {S(0), S(0)}, {0, 1}), Layout(mesh, {S(0), S(0)}));
  EXPECT_EQ(Layout(mesh, {S(0), S(0)}, {1}), Layout(mesh, {S(0), S(0)}, {1, 0}));
  EXPECT_NE(Layout(mesh, {S(0), S(0)}, {1, 0}), Layout(mesh, {S(0), S(0)}));
}

TEST(Layout, AnAxisBecomesTheMinorOneOnADimItNewlySplits) {
  const Layout layout(grid(2, 2), {B, S(0)});
  EXPECT_EQ(layout.with(0, S(0)).axes_on(0), (std::vector<int>{1, 0}));
  EXPECT_EQ(layout.with(0, S(0)).str(), "S(0),S(0) order tp>dp");
  EXPECT_EQ(layout.with(0, S(0)).with(1, B).with(1, S(0)).str(), "S(0),S(0)");
  EXPECT_EQ(layout.with(0, S(0)).with(0, S(0)), layout.with(0, S(0)));
  EXPECT_EQ(layout.with(0, P).str(), "P,S(0)");
}

TEST(Layout, NamesTheOrderOfEveryDimThatNeedsIt) {
  const Mesh mesh({{"a", 2}, {"b", 2}, {"c", 2}, {"d", 2}});
  EXPECT_EQ(Layout(mesh, {S(0), S(1), S(0), S(1)}, {3, 2}).str(), "S(0),S(1),S(0),S(1) order c>a, d>b");
}

TEST(Layout, TheFirstCopyIsAtCoordinateZeroOfEveryBroadcastAxis) {
  const Layout layout(grid(2, 2), {B, S(0)});
  EXPECT_TRUE(layout.is_first_copy(0));
  EXPECT_TRUE(layout.is_first_copy(1));
  EXPECT_FALSE(layout.is_first_copy(2));
}

TEST(Layout, FitsATensorThatHasEveryDimItSplits) {
  EXPECT_TRUE(Layout(grid(2, 2), {S(1), B}).fits(2));
  EXPECT_FALSE(Layout(grid(2, 2), {S(2), B}).fits(2));
  EXPECT_TRUE(Layout::broadcast(grid(2, 2)).fits(0));
}

TEST(Layout, RefusesSbpsAndOrdersThatTheMeshDoesNotHave) {
  const auto error_of = [](const std::vector<Sbp>& sbp, const std::vector<int>& order) -> std::string {
    try {
      Layout(grid(2, 2), sbp, order);
    } catch (const PlanError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of({B}, {}), "layout B has 1 SBPs; mesh dp=2, tp=2 needs one per axis, 2 in all");
  EXPECT_EQ(error_of({S(0), S(0)}, {0, 0}), "layout S(0),S(0): the order names axis 'dp' twice");
  EXPECT_EQ(error_of({S(0), S(0)}, {2}), "layout S(0),S(0): the order names axis 2; mesh dp=2, tp=2 has axes 0 to 1");
  EXPECT_EQ(error_of({S(9), B}, {}), "layout S(9),B: S(9) is not possible; a tensor has at most 8 dims");
}

}  // namespace
}  // namespace troupe
