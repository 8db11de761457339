// Every pair of layouts, boxed by actors: the tensor arrives whole.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/base/random.h"
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

// A variable is taken to `from`, from there to `to`, and its sum with itself is its next version.
void expect_boxed(const std::vector<Axis>& axes, const Shape& shape, const std::vector<Sbp>& from,
                  const std::vector<Sbp>& to) {
  Graph graph;
  graph.set_role(Role::update);
  const ValueId w = graph.variable("weight", DType::f32, shape);
  const ValueId first = graph.add("to_layout", {w}, {}, "first").front();
  const ValueId second = graph.add("to_layout", {first}, {}, "second").front();
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    graph.pin({first, axes[axis].name, from[axis], {}, ""});
    graph.pin({second, axes[axis].name, to[axis], {}, ""});
  }
  graph.assign(w, graph.add("add", {w, second}, {}, "sum").front());
  graph.output(
      "scalar",
      graph.add("fill", {}, {{"value", 1.0}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string("f32")}}, "one")
          .front());
  const Compiled compiled = compile(graph, choices_on(axes), Profile());
  SCOPED_TRACE(testing::Message() << compiled.stages.at("box"));
  const Trained run = run_plan(graph, compiled.plan, {}, 1, {});
  const std::vector<double> expected = formula("weight", shape.elements(), 0.4);
  const std::vector<double> found = run.variables.at("weight").numbers();
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(found[i], 2 * static_cast<double>(static_cast<float>(expected[i])));
}

void expect_every_pair(const std::vector<Axis>& axes, const Shape& shape) {
  const Mesh mesh(axes);
  for (int64_t from = 0; from < layouts(mesh); ++from) {
    for (int64_t to = 0; to < layouts(mesh); ++to) {
      expect_boxed(axes, shape, layout(mesh, from), layout(mesh, to));
      if (testing::Test::HasFatalFailure()) return;
    }
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

TEST(BoxingByActors, PairsOnThreeAxes) {
  const std::vector<Axis> axes = {{"a", 2}, {"b", 3}, {"c", 2}};
  const Mesh mesh(axes);
  Random random(7);
  for (int i = 0; i < 300 && !HasFatalFailure(); ++i) {
    expect_boxed(axes, {7, 5}, layout(mesh, random.below(layouts(mesh))), layout(mesh, random.below(layouts(mesh))));
  }
}

}  // namespace
}  // namespace troupe
