#include "ops/graph.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

template <class Fn>
std::string error_of(Fn&& fn) {
  try {
    fn();
  } catch (const PlanError& error) {
    return error.what();
  }
  return "";
}

TEST(Graph, PrintsALinePerNode) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 16}, true);
  const ValueId w = graph.variable("w", DType::f32, {4, 16});
  const ValueId y = graph.add("matmul", {x, w}, {{"trans_b", int64_t{1}}}, "block.0").front();
  graph.add("layer_norm", {y, graph.variable("scale", DType::f32, {4}), graph.variable("shift", DType::f32, {4})},
            {{"eps", 1e-5}}, "block.0");
  EXPECT_EQ(graph.str(),
            "x: f32[8,16] = source()\n"
            "w: f32[4,16] = variable()\n"
            "block.0.matmul: f32[8,4] = matmul(x, w) {trans_b=1}\n"
            "scale: f32[4] = variable()\n"
            "shift: f32[4] = variable()\n"
            "block.0.layer_norm: f32[8,4], block.0.layer_norm:mean: f32[8], block.0.layer_norm:rstd: f32[8] = "
            "layer_norm(block.0.matmul, scale, shift) {eps=1e-05}\n");
}

TEST(Graph, PathsAreUniqueAndCountUsesInAScope) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8}, true);
  const auto path = [&](const std::string& scope) {
    return graph.node(graph.value(graph.add("exp", {x}, {}, scope).front()).producer).path;
  };
  EXPECT_EQ(path("a"), "a.exp");
  EXPECT_EQ(path("a"), "a.exp#2");
  EXPECT_EQ(path("b"), "b.exp");
  EXPECT_EQ(path(""), "exp");
}

TEST(Graph, ASplitNamesItsParts) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 6}, true);
  const std::vector<ValueId> parts =
      graph.add("split", {x}, {{"dim", int64_t{1}}, {"sizes", std::vector<int64_t>{1, 2, 3}}}, "s");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(graph.value(parts[0]).name, "s.split");
  EXPECT_EQ(graph.value(parts[1]).name, "s.split:y1");
  EXPECT_EQ(graph.value(parts[2]).name, "s.split:y2");
}

TEST(Graph, RefusesWhatAVariableCannotBe) {
  Graph graph;
  const ValueId w = graph.variable("w", DType::f32, {4});
  EXPECT_EQ(error_of([&] { graph.variable("w", DType::f32, {4}); }), "variable 'w': two variables have this name");
  EXPECT_EQ(error_of([&] { graph.assign(w, graph.variable("v", DType::f32, {5})); }),
            "assign 'w': the variable is f32[4], but the new value is f32[5]");
  EXPECT_EQ(error_of([&] { graph.source("x", DType::f32, {}, true); }),
            "source 'x': a batched source needs a dim 0, but this one is f32[]");
}

TEST(Graph, BackwardNodesKnowTheForwardNodeTheyComeFrom) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {4}, true);
  const ValueId y = graph.add("exp", {x}, {}, "m").front();
  const ValueId loss = graph.add("reduce_sum", {y}, {{"dims", std::vector<int64_t>{0}}}, "m").front();
  const ValueId dx = graph.gradients(loss, {x}).front();
  const Node& node = graph.node(graph.value(dx).producer);
  EXPECT_EQ(node.role, Role::backward);
  EXPECT_EQ(node.origin, graph.value(y).producer);
  EXPECT_EQ(node.path, "m.exp.grad.mul");
  EXPECT_EQ(graph.node(graph.value(y).producer).role, Role::forward);
}

}  // namespace
}  // namespace troupe
