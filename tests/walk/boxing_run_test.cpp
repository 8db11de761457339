// Every pair of layouts, boxed by actors: the tensor arrives whole.

#include <gtest/gtest.h>

#include <numeric>
#include <utility>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/plan/validate.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

// Splits of two dims, whole, partial.
constexpr int kForms = 4;
Sbp form(int64_t i) { return i == 0 ? B : i == 1 ? P : S(static_cast<int>(i - 2)); }

std::vector<Sbp> layout(const Mesh& mesh, int64_t number) {
  std::vector<Sbp> sbp;
  for (int axis = 0; axis < mesh.axis_count(); ++axis, number /= kForms) sbp.push_back(form(number % kForms));
  return sbp;
}

int64_t layouts(const Mesh& mesh) {
  int64_t count = 1;
  for (int axis = 0; axis < mesh.axis_count(); ++axis) count *= kForms;
  return count;
}

using Pair = std::pair<int64_t, int64_t>;  // numbers of layouts

using Devices = std::vector<int>;

// For each pair a variable is taken to the one layout, from there to the other, and its sum with itself is its next
// version. With `second` devices, the first ones are 0 and so on, and the other layout is on the second. Returns the
// bytes that devices received, as many as promised.
int64_t expect_boxed(const std::vector<Axis>& axes, const Shape& shape, const std::vector<Pair>& pairs,
                     const Devices& second = {}) {
  Graph graph;
  const Mesh mesh(axes);
  Choices choices = choices_on(axes);
  if (!second.empty()) {
    Devices first(static_cast<size_t>(mesh.size()));
    std::iota(first.begin(), first.end(), 0);
    put_stages_on(choices, {first, second});
    choices.pipeline.chunks = 2;
  }
  std::vector<ValueId> variables;
  std::vector<ValueId> boxed;
  for (const auto& [from, to] : pairs) {
    const std::string name = std::to_string(from) + "-" + std::to_string(to);
    variables.push_back(graph.variable(name + ".weight", DType::f32, shape));
    const ValueId first = graph.add("to_layout", {variables.back()}, {}, name + ".from").front();
    boxed.push_back(graph.add("to_layout", {first}, {}, name + ".to").front());
    choices.pipeline.chunk_of[name + ".from"] = 0;
    choices.pipeline.chunk_of[name + ".to"] = choices.pipeline.chunks - 1;
    for (int axis = 0; axis < mesh.axis_count(); ++axis) {
      const auto a = static_cast<size_t>(axis);
      graph.pin({first, mesh.axis(axis).name, layout(mesh, from)[a], {}, ""});
      graph.pin({boxed.back(), mesh.axis(axis).name, layout(mesh, to)[a], {}, ""});
    }
  }
  graph.set_role(Role::update);
  for (size_t i = 0; i < pairs.size(); ++i) {
    graph.assign(variables[i], graph.add("add", {variables[i], boxed[i]}, {}, "sum" + std::to_string(i)).front());
  }
  const Attrs one = {{"value", 1.0}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string("f32")}};
  graph.output("scalar", graph.add("fill", {}, one, "one").front());
  const Compiled compiled = compile(graph, choices, Profile());
  EXPECT_EQ(flaw_in(compiled.plan), std::nullopt);
  const Trained run = run_plan(graph, compiled.plan, {}, 1, {.count_traffic = true});
  for (const auto& [name, value] : run.variables) {
    const std::vector<double> expected = formula(name, shape.elements(), 0.4);
    const std::vector<double> found = value.numbers();
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i], 2 * static_cast<double>(static_cast<float>(expected[i]))) << name;
      if (testing::Test::HasFailure()) return 0;
    }
  }
  int64_t promised = 0;
  for (const PlanTraffic& row : compiled.plan.promise.traffic) promised += row.bytes;
  EXPECT_EQ(run.received_bytes, promised) << compiled.summary.text;
  return run.received_bytes;
}

// A plan for each layout that is gone from.
void expect_every_pair(const std::vector<Axis>& axes, const Shape& shape, const Devices& second = {}) {
  const int64_t count = layouts(Mesh(axes));
  for (int64_t from = 0; from < count; ++from) {
    std::vector<Pair> pairs;
    for (int64_t to = 0; to < count; ++to) pairs.emplace_back(from, to);
    SCOPED_TRACE(testing::Message() << Mesh(axes).str() << " " << shape.str() << ", then on "
                                    << testing::PrintToString(second));
    expect_boxed(axes, shape, pairs, second);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(BoxingByActors, EveryPairOnOneAxis) {
  for (int devices : {2, 3, 4}) {
    for (const Shape& shape : {Shape{4, 4}, Shape{6, 8}, Shape{5, 7}, Shape{3, 8}, Shape{1, 2}}) {
      expect_every_pair({{"tp", devices}}, shape);
    }
  }
}

TEST(BoxingByActors, EveryPairOnTwoAxes) {
  expect_every_pair({{"a", 2}, {"b", 2}}, {8, 4});
  expect_every_pair({{"a", 2}, {"b", 3}}, {5, 7});
}

TEST(BoxingByActors, EveryPairOnThreeAxes) { expect_every_pair({{"a", 2}, {"b", 3}, {"c", 2}}, {7, 5}); }

const std::vector<Axis> kLine = {{"tp", 4}};
const std::vector<Axis> kSquare = {{"a", 2}, {"b", 2}};

TEST(BoxingByActors, EveryPairBetweenDisjointDevices) {
  expect_every_pair({{"tp", 3}}, {5, 7}, {3, 4, 5});
  expect_every_pair({{"a", 2}, {"b", 3}}, {5, 7}, {6, 7, 8, 9, 10, 11});
}

TEST(BoxingByActors, EveryPairBetweenOverlappingDevices) {
  for (const Devices& second : {Devices{2, 3, 4, 5}, {3, 0, 4, 1}}) {
    for (const Shape& shape : {Shape{8, 4}, Shape{5, 7}, Shape{3, 2}}) expect_every_pair(kLine, shape, second);
    expect_every_pair(kSquare, {5, 7}, second);
  }
  expect_every_pair({{"a", 2}, {"b", 3}}, {5, 7}, {4, 8, 0, 2, 7, 6});
  expect_every_pair({{"a", 2}, {"b", 2}, {"c", 2}}, {7, 5}, {4, 5, 6, 7, 8, 9, 10, 11});
}

TEST(BoxingByActors, EveryPairBetweenTheSameDevicesInAnotherOrder) {
  for (const Devices& second : {Devices{3, 2, 1, 0}, {1, 0, 3, 2}, {0, 2, 1, 3}}) {
    expect_every_pair(kLine, {5, 7}, second);
    expect_every_pair(kSquare, {5, 7}, second);
  }
}

// A whole tensor of 140 bytes and its copy go to the devices that lack them, and the sum comes back to those that lack it.
TEST(BoxingByActors, DevicesOfBothMeshesReceiveNothingTheyHave) {
  const std::vector<Pair> whole = {{0, 0}};
  EXPECT_EQ(expect_boxed(kLine, {5, 7}, whole, {2, 3, 4, 5}), 3 * 2 * 140);
  EXPECT_EQ(expect_boxed(kLine, {5, 7}, whole, {2, 3, 0, 4}), 3 * 140);
  EXPECT_EQ(expect_boxed(kLine, {5, 7}, whole, {2, 3, 0, 1}), 0);
}

}  // namespace
}  // namespace troupe
