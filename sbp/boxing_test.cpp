#include "sbp/boxing.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/base/random.h"
#include "runtime/base/text.h"
#include "sbp/boxing_step.h"
#include "sbp/test_shards.h"

namespace troupe {
namespace {

const std::vector<Sbp> kAll = {S(0), S(1), B, P, P_of(Reduction::max), P_of(Reduction::min)};
const std::vector<Sbp> kFour = {S(0), S(1), B, P};

Mesh line(int size, int first = 0) {
  std::vector<DeviceId> devices;
  for (int i = 0; i < size; ++i) devices.push_back(DeviceId(first + i));
  return Mesh({{"x", size}}, devices);
}

Mesh grid(int dp, int tp, int first = 0) {
  std::vector<DeviceId> devices;
  for (int i = 0; i < dp * tp; ++i) devices.push_back(DeviceId(first + i));
  return Mesh({{"dp", dp}, {"tp", tp}}, devices);
}

std::vector<Layout> layouts_on(const Mesh& mesh, const std::vector<Sbp>& choices) {
  std::vector<Layout> layouts = {Layout::broadcast(mesh)};
  for (int axis = 0; axis < mesh.axis_count(); ++axis) {
    std::vector<Layout> more;
    for (const Layout& layout : layouts) {
      for (const Sbp& sbp : choices) more.push_back(layout.with(axis, sbp));
    }
    layouts = std::move(more);
  }
  return layouts;
}

const Topology& sixteen() {
  static const Topology topology = Topology::one_host(16);
  return topology;
}

std::string steps_text(const Layout& from, const Layout& to, const Shape& shape, SumOrder order = SumOrder::tree) {
  return join(boxing(from, to, shape, DType::f32, sixteen(), order), "; ", [](const BoxingStep& s) { return s.str(); });
}

// The law: the chain leads from `from` to `to`, every step yields shards that represent the tensor, and what
// devices pull is what the step's cost says.
void expect_law(const Layout& from, const Layout& to, const Shape& shape, const Topology& topology = sixteen()) {
  const std::string pair = from.mesh().str() + " " + from.str() + " -> " + to.mesh().str() + " " + to.str() + " of " +
                           type_text(DType::f32, shape);
  const std::vector<double> values = logical_values(shape);
  const std::vector<BoxingStep> steps = boxing(from, to, shape, DType::f32, topology);
  Shards shards = scattered(values, shape, from);
  if (steps.empty()) {
    ASSERT_TRUE(same_parts(from, to, shape)) << pair;
    return;
  }
  ASSERT_EQ(steps.back().to, to) << pair;
  for (size_t i = 0; i < steps.size(); ++i) {
    const BoxingStep& step = steps[i];
    const std::string place = pair + ": " + step.str();
    ASSERT_EQ(step.from, i == 0 ? from : steps[i - 1].to) << place;
    Executed result = executed(shards, step.to, topology);
    ASSERT_EQ(result.wrong, "") << place;
    ASSERT_EQ(what_is_wrong(result.shards, values), "") << place;
    const BoxingCost cost = cost_of(step, shape, DType::f32, topology);
    if (step.kind != BoxingKind::all_reduce) {
      ASSERT_EQ(cost.total().value, 4 * result.elements_received) << place;
      ASSERT_EQ(cost.most_received.value, 4 * result.most_received) << place;
    }
    if (step.kind == BoxingKind::exchange) {
      int64_t messages = 0;
      for (int64_t n : cost.messages) messages += n;
      ASSERT_EQ(messages, result.messages) << place;
    }
    shards = std::move(result.shards);
  }
}

TEST(Boxing, OneAxisTakesTheCollectiveOfTheTable) {
  const auto text = [](Sbp from, Sbp to) { return steps_text(Layout(line(4), {from}), Layout(line(4), {to}), {8, 8}); };
  EXPECT_EQ(text(P, B), "all_reduce(axis=x): P -> B");
  EXPECT_EQ(text(P, S(0)), "reduce_scatter(axis=x, dim=0): P -> S(0)");
  EXPECT_EQ(text(P, S(1)), "reduce_scatter(axis=x, dim=1): P -> S(1)");
  EXPECT_EQ(text(S(1), B), "all_gather(axis=x, dim=1): S(1) -> B");
  EXPECT_EQ(text(S(0), S(1)), "all_to_all(axis=x, dim=0>1): S(0) -> S(1)");
  EXPECT_EQ(text(B, S(1)), "slice(axis=x, dim=1): B -> S(1)");
  EXPECT_EQ(text(B, P), "zero_fill(axis=x): B -> P");
  EXPECT_EQ(text(S(0), P), "zero_fill(axis=x, dim=0): S(0) -> P");
  EXPECT_EQ(text(S(0), S(0)), "");
  EXPECT_EQ(text(P, P), "");
}

TEST(Boxing, PartsInAnotherOrderArePermutedAndElseTakeTheSameCollectives) {
  const auto text = [](Sbp from, Sbp to) { return steps_text(Layout(line(4), {from}), Layout(line(4), {to}), {8, 8}); };
  EXPECT_EQ(text(S(0), S_shifted(0, 1)), "permute(axis=x, dim=0): S(0) -> S(0)+1");
  EXPECT_EQ(text(S_mirrored(1), S(1)), "permute(axis=x, dim=1): S(1)~ -> S(1)");
  EXPECT_EQ(text(S_shifted(0, 2), B), "all_gather(axis=x, dim=0): S(0)+2 -> B");
  EXPECT_EQ(text(P, S_mirrored(0)), "reduce_scatter(axis=x, dim=0): P -> S(0)~");
  const std::vector<Sbp> orders = {S(0), S_shifted(0, 1), S_shifted(0, 2), S_mirrored(0), S_mirrored(1), B, P};
  for (const Shape& shape : {Shape{8, 8}, Shape{7, 5}, Shape{2, 3}}) {
    for (const Sbp& from : orders) {
      for (const Sbp& to : orders) {
        expect_law(Layout(line(3), {from}), Layout(line(3), {to}), shape);
        expect_law(Layout(grid(2, 3), {S(0), from}), Layout(grid(2, 3), {S(0), to}), shape);
        expect_law(Layout(grid(3, 2), {from, S(0)}), Layout(grid(3, 2), {to, S(0)}), shape);
      }
    }
  }
}

TEST(Boxing, KindsOfPartialConvertThroughB) {
  EXPECT_EQ(steps_text(Layout(line(2), {P}), Layout(line(2), {P_of(Reduction::max)}), {8}),
            "all_reduce(axis=x): P -> B; zero_fill(axis=x): B -> P(max)");
}

TEST(Boxing, AnAxisThatIsNotMinorMostExchangesSlices) {
  const Layout both(grid(2, 2), {S(0), S(0)});
  EXPECT_EQ(steps_text(both, both.with(1, B), {8, 8}), "all_gather(axis=tp, dim=0): S(0),S(0) -> S(0),B");
  EXPECT_EQ(steps_text(both, both.with(0, B), {8, 8}), "exchange: S(0),S(0) -> B,S(0)");
}

TEST(Boxing, IndependentAxesTakeOneCollectiveEach) {
  const Mesh mesh = grid(2, 2);
  const Shape shape = {64, 64};
  EXPECT_EQ(steps_text(Layout(mesh, {S(0), S(1)}), Layout(mesh, {B, B}), shape),
            "all_gather(axis=dp, dim=0): S(0),S(1) -> B,S(1); all_gather(axis=tp, dim=1): B,S(1) -> B,B");
  EXPECT_EQ(steps_text(Layout(mesh, {P, S(1)}), Layout(mesh, {S(0), B}), shape),
            "reduce_scatter(axis=dp, dim=0): P,S(1) -> S(0),S(1); all_gather(axis=tp, dim=1): S(0),S(1) -> S(0),B");
  EXPECT_EQ(steps_text(Layout(mesh, {S(0), B}), Layout(mesh, {B, S(1)}), shape),
            "slice(axis=tp, dim=1): S(0),B -> S(0),S(1); all_gather(axis=dp, dim=0): S(0),S(1) -> B,S(1)");
}

TEST(Boxing, TwoPartialAxesGoByCost) {
  const Mesh mesh = grid(2, 2);
  const Layout p(mesh, {P, P}), b(mesh, {B, B});
  EXPECT_EQ(steps_text(p, b, {1024, 1024}), "all_reduce(axis=dp): P,P -> B,P; all_reduce(axis=tp): B,P -> B,B");
  EXPECT_EQ(steps_text(p, b, {2}), "exchange: P,P -> B,B");
}

TEST(Boxing, SumsAreAddedOutermostFirstUnlessTheOrderIsFree) {
  const Mesh mesh = grid(3, 2);
  const Layout p(mesh, {P, P}), scattered_on_tp(mesh, {B, S(0)});
  EXPECT_EQ(steps_text(p, scattered_on_tp, {1024, 1024}),
            "all_reduce(axis=dp): P,P -> B,P; reduce_scatter(axis=tp, dim=0): B,P -> B,S(0)");
  EXPECT_EQ(steps_text(p, scattered_on_tp, {1024, 1024}, SumOrder::any),
            "reduce_scatter(axis=tp, dim=0): P,P -> P,S(0); all_reduce(axis=dp): P,S(0) -> B,S(0)");
  // The tree over three times two devices is no tree of three in a tree of two: never an exchange.
  EXPECT_EQ(steps_text(p, Layout(mesh, {B, B}), {2}),
            "all_reduce(axis=dp): P,P -> B,P; all_reduce(axis=tp): B,P -> B,B");
}

TEST(Boxing, AnAxisOfSizeOneMeansTheSameUnderEverySbp) {
  const Mesh mesh = grid(1, 2);
  EXPECT_EQ(steps_text(Layout(mesh, {P, S(0)}), Layout(mesh, {B, S(0)}), {8}), "");
  EXPECT_EQ(steps_text(Layout(mesh, {S(0), S(0)}), Layout(mesh, {S(0), S(0)}, {1, 0}), {8}), "");
  EXPECT_EQ(steps_text(Layout(mesh, {S(0), S(0)}, {1, 0}), Layout(mesh, {P, B}), {8}),
            "all_gather(axis=tp, dim=0): S(0),S(0) order tp>dp -> P,B");
}

TEST(Boxing, AnotherMeshThatPlacesTheSamePartsNeedsNothing) {
  EXPECT_EQ(steps_text(Layout(line(4), {S(0)}), Layout(grid(2, 2), {S(0), S(0)}), {8}), "");
  EXPECT_EQ(steps_text(Layout(line(4), {B}), Layout(grid(2, 2), {B, B}), {8}), "");
  EXPECT_EQ(steps_text(Layout(line(4), {S(0)}), Layout(grid(2, 2), {S(0), S(0)}, {1, 0}), {8}),
            "exchange: mesh x=4 S(0) -> mesh dp=2, tp=2 S(0),S(0) order tp>dp");
}

TEST(Boxing, BetweenMeshesOneExchangeDoesOnEqualLinks) {
  EXPECT_EQ(steps_text(Layout(line(2), {S(0)}), Layout(line(2, 2), {S(0)}), {8}),
            "exchange: mesh x=2 S(0) -> mesh x=2 S(0)");
  EXPECT_EQ(steps_text(Layout(line(4), {B}), Layout(line(4, 4), {B}), {1024, 1024}),
            "exchange: mesh x=4 B -> mesh x=4 B");
}

TEST(Boxing, SlowLinksAreCrossedOnce) {
  Topology two_hosts = Topology::one_host(8);
  for (size_t device = 4; device < 8; ++device) two_hosts.places[device].host = 1;
  const auto steps = boxing(Layout(line(4), {B}), Layout(line(4, 4), {B}), {1024, 1024}, DType::f32, two_hosts);
  EXPECT_EQ(join(steps, "; ", [](const BoxingStep& s) { return s.str(); }),
            "exchange: mesh x=4 B -> mesh x=4 S(0); all_gather(axis=x, dim=0): S(0) -> B");
}

TEST(Boxing, TheSameQuestionHasTheSameAnswer) {
  const Mesh mesh({{"a", 2}, {"b", 2}, {"c", 2}});
  const Layout from(mesh, {P, S(0), S(1)}), to(mesh, {S(0), S(0), P}, {1, 0});
  EXPECT_EQ(steps_text(from, to, {16, 16}), steps_text(from, to, {16, 16}));
}

TEST(Boxing, RefusesALayoutThatDoesNotFit) {
  try {
    boxing(Layout(line(2), {S(2)}), Layout(line(2), {B}), {8, 8}, DType::f32, sixteen());
    FAIL();
  } catch (const PlanError& error) {
    EXPECT_STREQ(error.what(),
                 "layout S(2) has S(2) on axis 'x', but the tensor is f32[8,8] with dims 0..1; S(0), S(1) or B are "
                 "possible");
  }
  EXPECT_THROW(boxing(Layout(line(2), {S(0)}), Layout(line(2), {B}), {}, DType::f32, sixteen()), PlanError);
  EXPECT_THROW(boxing(Layout(line(2, 15), {S(0)}), Layout(line(2), {B}), {8}, DType::f32, sixteen()), PlanError);
}

TEST(BoxingLaw, HoldsForEveryPairOnOneAxis) {
  for (const Shape& shape : {Shape{4, 4}, Shape{6, 8}, Shape{5, 7}, Shape{3, 8}, Shape{0, 2}}) {
    for (const Layout& from : layouts_on(line(4), kAll)) {
      for (const Layout& to : layouts_on(line(4), kAll)) expect_law(from, to, shape);
    }
  }
}

TEST(BoxingLaw, HoldsForEveryPairOnTwoAxes) {
  for (const Shape& shape : {Shape{8, 8, 16}, Shape{5, 7, 3}}) {
    for (const Layout& from : layouts_on(grid(2, 2), kFour)) {
      for (const Layout& to : layouts_on(grid(2, 2), kFour)) expect_law(from, to, shape);
    }
  }
  for (const Layout& from : layouts_on(grid(2, 3), kAll)) {
    for (const Layout& to : layouts_on(grid(2, 3), kAll)) expect_law(from, to, {5, 7});
  }
}

TEST(BoxingLaw, HoldsBetweenOneAndTwoAxes) {
  for (const Layout& one : layouts_on(line(4), kFour)) {
    for (const Layout& two : layouts_on(grid(2, 2), kFour)) {
      for (const Shape& shape : {Shape{8, 8}, Shape{5, 7}}) {
        expect_law(one, two, shape);
        expect_law(two, one, shape);
      }
    }
  }
}

TEST(BoxingLaw, HoldsForSameDisjointOverlappingAndNestedDevices) {
  for (const Mesh& other : {line(4), line(4, 4), line(4, 2), line(2, 1), line(8), grid(2, 2, 3), grid(2, 4)}) {
    for (const Layout& from : layouts_on(line(4), kFour)) {
      for (const Layout& to : layouts_on(other, kFour)) {
        expect_law(from, to, {5, 7});
        expect_law(to, from, {5, 7});
      }
    }
  }
}

TEST(BoxingLaw, HoldsAcrossHostsAndSwitches) {
  Topology topology = Topology::one_host(8);
  for (size_t device = 0; device < 8; ++device) {
    topology.places[device] = {static_cast<int>(device / 4), static_cast<int>(device / 2 % 2)};
  }
  for (const Layout& from : layouts_on(grid(2, 2), kFour)) {
    for (const Layout& to : layouts_on(grid(2, 2), kFour)) expect_law(from, to, {64, 36}, topology);
    for (const Layout& to : layouts_on(grid(2, 2, 4), kFour)) expect_law(from, to, {64, 36}, topology);
  }
}

Layout random_layout(const Mesh& mesh, int rank, Random& random) {
  std::vector<Sbp> sbp;
  std::vector<int> order;
  for (int axis = 0; axis < mesh.axis_count(); ++axis) {
    const std::vector<Sbp> whole = {B, P, P, P_of(Reduction::max)};
    sbp.push_back(random.chance(0.6) ? S(static_cast<int>(random.below(rank)))
                                     : whole[static_cast<size_t>(random.below(4))]);
    order.insert(order.begin() + random.below(axis + 1), axis);
  }
  return Layout(mesh, sbp, order);
}

Mesh random_mesh(Random& random) {
  std::vector<Axis> axes;
  int size = 1;
  for (const char* name : {"a", "b", "c"}) {
    axes.push_back({name, static_cast<int>(random.between(1, 3))});
    size *= axes.back().size;
  }
  std::vector<DeviceId> devices;
  const int64_t first = random.below(28);
  for (int i = 0; i < size; ++i) devices.insert(devices.begin() + random.below(i + 1), DeviceId(first + i));
  return Mesh(axes, devices);
}

TEST(BoxingLaw, HoldsForRandomPairsOnThreeAxesInAnyOrder) {
  Random random(2024);
  for (int i = 0; i < 600; ++i) {
    Topology topology = Topology::one_host(54);
    for (auto& place : topology.places) {
      place = {static_cast<int>(random.below(2)), static_cast<int>(random.below(2))};
    }
    const Mesh mesh = random_mesh(random);
    const Mesh other = random.chance(0.5) ? mesh : random_mesh(random);
    Shape shape;
    for (int64_t dim = random.between(1, 3); dim > 0; --dim) shape.push_back(random.between(0, 9));
    expect_law(random_layout(mesh, shape.rank(), random), random_layout(other, shape.rank(), random), shape, topology);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace troupe
