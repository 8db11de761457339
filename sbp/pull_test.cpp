#include <gtest/gtest.h>

#include <set>

#include "sbp/boxing_step.h"
#include "sbp/test_shards.h"

namespace troupe {
namespace {

Mesh line(int size, int first = 0) {
  std::vector<DeviceId> devices;
  for (int i = 0; i < size; ++i) devices.push_back(DeviceId(first + i));
  return Mesh({{"x", size}}, devices);
}

// "0: [0:2]<1 [2:4]<2+3; 1: ..." for every device of `to`.
std::string pulls(const Layout& from, const Layout& to, const Shape& shape, const Topology& topology) {
  std::string text;
  for (int position = 0; position < to.mesh().size(); ++position) {
    text += (position == 0 ? "" : "; ") + std::to_string(position) + ":";
    for (const Pull::Region& region : pull_of(from, to, shape, position, topology).regions) {
      text += " " + region.box.str() + "<";
      for (size_t i = 0; i < region.sources.size(); ++i) text += (i ? "+" : "") + std::to_string(region.sources[i]);
    }
  }
  return text;
}

std::string pulls(const Layout& from, const Layout& to, const Shape& shape) {
  return pulls(from, to, shape, Topology::one_host(16));
}

TEST(Pull, EachCollectiveIsASetOfSlices) {
  const Mesh mesh = line(2);
  const Layout s0(mesh, {S(0)}), s1(mesh, {S(1)}), b(mesh, {B}), p(mesh, {P});
  EXPECT_EQ(pulls(s0, b, {4, 2}), "0: [0:2,0:2]<0 [2:4,0:2]<1; 1: [0:2,0:2]<0 [2:4,0:2]<1");
  EXPECT_EQ(pulls(p, b, {4, 2}), "0: [0:4,0:2]<0+1; 1: [0:4,0:2]<0+1");
  EXPECT_EQ(pulls(p, s0, {4, 2}), "0: [0:2,0:2]<0+1; 1: [2:4,0:2]<0+1");
  EXPECT_EQ(pulls(s0, s1, {4, 2}), "0: [0:2,0:1]<0 [2:4,0:1]<1; 1: [0:2,1:2]<0 [2:4,1:2]<1");
  EXPECT_EQ(pulls(b, s0, {4, 2}), "0: [0:2,0:2]<0; 1: [2:4,0:2]<1");
}

TEST(Pull, ANewPartialSumIsKeptOnceAndANewMaximumEverywhere) {
  const Mesh mesh = line(2);
  const Layout s0(mesh, {S(0)}), b(mesh, {B}), p(mesh, {P}), most(mesh, {P_of(Reduction::max)});
  EXPECT_EQ(pulls(b, p, {4}), "0: [0:4]<0; 1:");
  EXPECT_EQ(pulls(b, most, {4}), "0: [0:4]<0; 1: [0:4]<1");
  EXPECT_EQ(pulls(s0, p, {4}), "0: [0:2]<0; 1: [2:4]<1");
  EXPECT_EQ(pulls(s0, most, {4}), "0: [0:2]<0; 1: [2:4]<1");
  EXPECT_EQ(pull_of(s0, most, {4}, 0, Topology::one_host(2)).reduction, Reduction::max);
}

TEST(Pull, APartialAxisThatStaysKeepsItsCoordinatesApart) {
  const Mesh mesh({{"a", 2}, {"b", 2}});
  EXPECT_EQ(pulls(Layout(mesh, {P, S(0)}), Layout(mesh, {P, B}), {4}),
            "0: [0:2]<0 [2:4]<1; 1: [0:2]<0 [2:4]<1; 2: [0:2]<2 [2:4]<3; 3: [0:2]<2 [2:4]<3");
}

TEST(Pull, SeveralPartialAxesAreAddedOutermostFirst) {
  const Mesh mesh({{"a", 2}, {"b", 3}});
  const Pull pull = pull_of(Layout(mesh, {P, P}), Layout::broadcast(mesh), {4}, 0, Topology::one_host(6));
  ASSERT_EQ(pull.regions.size(), 1u);
  EXPECT_EQ(pull.regions[0].sources, (std::vector<int>{0, 3, 1, 4, 2, 5}));
}

TEST(Pull, SplitsInAnotherOrderExchangeOnlyWhatMoves) {
  const Mesh mesh({{"dp", 2}, {"tp", 2}});
  EXPECT_EQ(pulls(Layout(mesh, {S(0), S(0)}), Layout(mesh, {S(0), S(0)}, {1, 0}), {8}),
            "0: [0:2]<0; 1: [4:6]<2; 2: [2:4]<1; 3: [6:8]<3");
}

TEST(Pull, EmptyPartsAreNeitherPulledNorSent) {
  const Mesh mesh = line(4);
  EXPECT_EQ(pulls(Layout(mesh, {S(0)}), Layout(mesh, {S(1)}), {2, 3}),
            "0: [0:1,0:1]<0 [1:2,0:1]<1; 1: [0:1,1:2]<0 [1:2,1:2]<1; 2: [0:1,2:3]<0 [1:2,2:3]<1; 3:");
  EXPECT_EQ(pulls(Layout(mesh, {S(0)}), Layout(mesh, {B}), {0}), "0:; 1:; 2:; 3:");
}

TEST(Pull, AScalarHasOneRegion) {
  EXPECT_EQ(pulls(Layout(line(2), {P}), Layout(line(2), {B}), {}), "0: []<0+1; 1: []<0+1");
}

TEST(Pull, CopiesAreTakenFromItselfElseTheNearestElseInTurn) {
  const Layout from = Layout::broadcast(line(4));
  EXPECT_EQ(pulls(from, Layout::broadcast(line(4, 2)), {4}), "0: [0:4]<2; 1: [0:4]<3; 2: [0:4]<2; 3: [0:4]<3");
  EXPECT_EQ(pulls(from, Layout::broadcast(line(4, 4)), {4}), "0: [0:4]<0; 1: [0:4]<1; 2: [0:4]<2; 3: [0:4]<3");
  Topology two_hosts = Topology::one_host(8);
  for (size_t device : {3, 4, 5, 6, 7}) two_hosts.places[device].host = 1;
  EXPECT_EQ(pulls(from, Layout::broadcast(line(4, 4)), {4}, two_hosts),
            "0: [0:4]<3; 1: [0:4]<3; 2: [0:4]<3; 3: [0:4]<3");
}

TEST(Pull, CopiesOfAPartAndPartsOfACopyBothTakeTurns) {
  const Mesh source({{"a", 2}, {"b", 2}});
  const Layout from(source, {B, B});
  for (const std::vector<Sbp>& sbp : {std::vector<Sbp>{B, S(0)}, {S(0), B}, {S(0), S(1)}, {B, B}}) {
    std::vector<DeviceId> devices = {DeviceId(4), DeviceId(5), DeviceId(6), DeviceId(7)};
    const Layout to(Mesh({{"a", 2}, {"b", 2}}, devices), sbp);
    std::set<int> sources;
    for (int i = 0; i < 4; ++i)
      sources.insert(pull_of(from, to, {4, 4}, i, Topology::one_host(8)).regions[0].sources[0]);
    EXPECT_EQ(sources.size(), 4u) << to.str();
  }
}

// Every pair of layouts, each over its own mesh, pulled directly and compared with the tensor.
void expect_pairs_hold(const std::vector<Layout>& from, const std::vector<Layout>& to, const Shape& shape) {
  const Topology topology = Topology::one_host(16);
  const std::vector<double> values = logical_values(shape);
  for (const Layout& source : from) {
    const Shards shards = scattered(values, shape, source);
    ASSERT_EQ(what_is_wrong(shards, values), "") << source.str();
    for (const Layout& target : to) {
      if (!can_pull(source, target)) continue;
      const Executed result = executed(shards, target, topology);
      const std::string pair = source.str() + " -> " + target.str() + " of " + shape.str();
      ASSERT_EQ(result.wrong, "") << pair;
      ASSERT_EQ(what_is_wrong(result.shards, values), "") << pair;
    }
  }
}

std::vector<Layout> layouts_on(const Mesh& mesh, const std::vector<Sbp>& choices) {
  std::vector<std::vector<Sbp>> lists = {{}};
  for (int axis = 0; axis < mesh.axis_count(); ++axis) {
    std::vector<std::vector<Sbp>> longer;
    for (const auto& list : lists) {
      for (const Sbp& sbp : choices) {
        longer.push_back(list);
        longer.back().push_back(sbp);
      }
    }
    lists = std::move(longer);
  }
  std::vector<Layout> layouts;
  for (const auto& list : lists) layouts.emplace_back(mesh, list);
  return layouts;
}

const std::vector<Sbp> kAll = {S(0), S(1), B, P, P_of(Reduction::max), P_of(Reduction::min)};

TEST(PullLaw, HoldsForEveryPairOnOneAxis) {
  for (const Shape& shape : {Shape{4, 4}, Shape{6, 8}, Shape{5, 7}, Shape{3, 8}, Shape{0, 3}}) {
    const std::vector<Layout> layouts = layouts_on(line(4), kAll);
    expect_pairs_hold(layouts, layouts, shape);
  }
}

TEST(PullLaw, HoldsForEveryPairOnTwoAxes) {
  const std::vector<Layout> layouts = layouts_on(Mesh({{"a", 2}, {"b", 3}}), kAll);
  expect_pairs_hold(layouts, layouts, {5, 7});
}

TEST(PullLaw, HoldsBetweenAnySetsOfDevices) {
  const std::vector<Layout> from = layouts_on(line(4), kAll);
  for (const Mesh& mesh : {line(4, 4), line(4, 2), line(2, 1), line(6), line(1, 3), line(1, 9)}) {
    expect_pairs_hold(from, layouts_on(mesh, kAll), {5, 7});
    expect_pairs_hold(layouts_on(mesh, kAll), from, {3, 8});
  }
}

TEST(PullLaw, HoldsBetweenMeshesOfDifferentShape) {
  const std::vector<Layout> one = layouts_on(line(6), kAll);
  const std::vector<Layout> two = layouts_on(Mesh({{"a", 3}, {"b", 2}}), kAll);
  expect_pairs_hold(one, two, {7, 5});
  expect_pairs_hold(two, one, {7, 5});
}

}  // namespace
}  // namespace troupe
