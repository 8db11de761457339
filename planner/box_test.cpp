#include "planner/box.h"

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"

namespace troupe {
namespace {

std::string boxed(const Graph& graph, const Choices& choices) {
  return compile(graph, choices, Profile()).stages.at("box");
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

void pin(Graph& graph, ValueId value, const std::string& axis, Sbp sbp) { graph.pin({value, axis, sbp, {}, ""}); }

TEST(Box, APartialSumIsScatteredNotGatheredBeforeSoftmax) {
  Graph graph;
  graph.set_role(Role::update);
  const ValueId x = graph.variable("x", DType::f32, {256, 512});
  const ValueId w = graph.variable("w", DType::f32, {512, 128});
  pin(graph, x, "tp", S(1));
  pin(graph, w, "tp", S(0));
  const ValueId h = graph.add("matmul", {x, w}, {}, "h").front();
  graph.output("y", graph.add("softmax", {h}, {{"dim", int64_t{1}}}, "y").front());
  EXPECT_EQ(boxed(graph, choices_on({{"tp", 2}})), R"(step x: f32[256,512] S(1) = variable()
step w: f32[512,128] S(0) = variable()
step h.matmul: f32[256,128] P = matmul(x, w)
step h.matmul@1: f32[256,128] S(0) = reduce_scatter(axis=tp, dim=0): P -> S(0)(h.matmul)
step y.softmax: f32[256,128] S(0) = softmax(h.matmul@1) {dim=1}
step y: f32[256,128] S(0) = to_layout(y.softmax)
)");
}

TEST(Box, ReadersOfTheSameLayoutShareItsSteps) {
  Graph graph;
  graph.set_role(Role::update);
  const ValueId x = graph.variable("x", DType::f32, {64, 64});
  pin(graph, x, "tp", S(0));
  for (int reader = 0; reader < 3; ++reader) {
    graph.output("y" + std::to_string(reader),
                 graph.add("softmax", {x}, {{"dim", int64_t{0}}}, "reader" + std::to_string(reader)).front());
  }
  const std::string text = boxed(graph, choices_on({{"tp", 2}}));
  EXPECT_EQ(count(text, "all_to_all") + count(text, "all_gather"), 1u) << text;
}

TEST(Box, AnInputThatSumsAddIsMadePartialWithoutSendingIt) {
  Graph graph;
  graph.set_role(Role::update);
  const ValueId x = graph.variable("x", DType::f32, {64, 512});
  const ValueId w = graph.variable("w", DType::f32, {256, 512});
  const ValueId bias = graph.variable("bias", DType::f32, {256});
  pin(graph, x, "tp", S(1));
  pin(graph, w, "tp", S(1));
  pin(graph, bias, "tp", B);
  graph.output("y", graph.add("linear", {x, w, bias}, {}, "y").front());
  const std::string text = boxed(graph, choices_on({{"tp", 2}}));
  EXPECT_NE(text.find("bias@1: f32[256] P = zero_fill(axis=tp): B -> P(bias)"), std::string::npos) << text;
}

// A gradient that is partial over both axes, since the data axis splits its samples and the other their positions.
TEST(Box, TotalsAreAddedOverTheDataAxisFirst) {
  ModelBuilder model;
  const ValueId x = model.graph.source("x", DType::f32, {8, 64, 32}, true);
  model.graph.pin({x, "sp", S(1), {}, ""});
  model.train(model.sum_all(model.linear(x, "layer", 32, 32)));
  model.pin("", "dp", B);
  model.pin("", "sp", B);
  const std::string text = boxed(model.graph, choices_on({{"sp", 2}, {"dp", 2}}));
  const std::string total = "step layer.linear.grad.linear_weight_gradient.total@";
  const size_t first = text.find(total + "1: f32[32,32] P,B = all_reduce(axis=dp): P,P -> P,B(");
  const size_t second = text.find(total + "2: f32[32,32] B,B = all_reduce(axis=sp): P,B -> B,B(");
  EXPECT_NE(first, std::string::npos) << text;
  EXPECT_NE(second, std::string::npos) << text;
}

TEST(Box, NothingIsBoxedOnOneDevice) {
  const std::string text = boxed(mlp_model(3, 16, 32).graph, choices_on({{"dp", 1}, {"tp", 1}}));
  EXPECT_EQ(text.find("@"), std::string::npos) << text;
}

}  // namespace
}  // namespace troupe
