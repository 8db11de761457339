// Every pair of layouts, boxed by actors: the tensor arrives whole.

#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "planner/compile.h"
#include "planner/test_models.h"
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

// For each pair a variable is taken to the one layout, from there to the other, and its sum with itself is its next
// version. With two `stages` the other layout is on the devices of the second one.
void expect_boxed(const std::vector<Axis>& axes, const Shape& shape, const std::vector<Pair>& pairs, int stages = 1) {
  Graph graph;
  std::map<std::string, int> chunk_of;
  const Mesh mesh(axes);
  std::vector<ValueId> variables;
  std::vector<ValueId> boxed;
  for (const auto& [from, to] : pairs) {
    const std::string name = std::to_string(from) + "-" + std::to_string(to);
    variables.push_back(graph.variable(name + ".weight", DType::f32, shape));
    const ValueId first = graph.add("to_layout", {variables.back()}, {}, name + ".from").front();
    boxed.push_back(graph.add("to_layout", {first}, {}, name + ".to").front());
    chunk_of[name + ".from"] = 0;
    chunk_of[name + ".to"] = stages - 1;
    for (size_t axis = 0; axis < axes.size(); ++axis) {
      graph.pin({first, axes[axis].name, layout(mesh, from)[axis], {}, ""});
      graph.pin({boxed.back(), axes[axis].name, layout(mesh, to)[axis], {}, ""});
    }
  }
  graph.set_role(Role::update);
  for (size_t i = 0; i < pairs.size(); ++i) {
    graph.assign(variables[i], graph.add("add", {variables[i], boxed[i]}, {}, "sum" + std::to_string(i)).front());
  }
  const Attrs one = {{"value", 1.0}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string("f32")}};
  graph.output("scalar", graph.add("fill", {}, one, "one").front());
  std::vector<Axis> all = axes;
  if (stages > 1) all.push_back({"pp", stages});
  Choices choices = choices_on(all);
  if (stages > 1) {
    choices.cut_stages("pp");
    choices.pipeline.chunks = stages;
    choices.pipeline.chunk_of = chunk_of;
  }
  const Compiled compiled = compile(graph, choices, Profile());
  const Trained run = run_plan(graph, compiled.plan, {}, 1, {});
  for (const auto& [name, value] : run.variables) {
    const std::vector<double> expected = formula(name, shape.elements(), 0.4);
    const std::vector<double> found = value.numbers();
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i], 2 * static_cast<double>(static_cast<float>(expected[i]))) << name;
    }
  }
}

// A plan for each layout that is gone from.
void expect_every_pair(const std::vector<Axis>& axes, const Shape& shape, int stages = 1) {
  const int64_t count = layouts(Mesh(axes));
  for (int64_t from = 0; from < count; ++from) {
    std::vector<Pair> pairs;
    for (int64_t to = 0; to < count; ++to) pairs.emplace_back(from, to);
    SCOPED_TRACE(testing::Message() << Mesh(axes).str() << " " << shape.str() << ", " << stages << " stages");
    expect_boxed(axes, shape, pairs, stages);
    if (testing::Test::HasFatalFailure()) return;
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

TEST(BoxingByActors, EveryPairBetweenDisjointDevices) {
  expect_every_pair({{"tp", 3}}, {5, 7}, 2);
  expect_every_pair({{"a", 2}, {"b", 3}}, {5, 7}, 2);
}

}  // namespace
}  // namespace troupe
