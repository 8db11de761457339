#include "planner/deduce.h"

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/pieces.h"
#include "planner/test_models.h"

namespace troupe {
namespace {

Pin pin(ValueId value, const std::string& axis, Sbp sbp, int line = 0, const std::string& pattern = "") {
  return {value, axis, sbp, line > 0 ? SourceLine{"model.py", line} : SourceLine(), pattern};
}

std::string deduced(const Graph& graph, const Choices& choices) {
  const Program program = pieces(graph);
  return deduce(program, choices, Profile()).str(program, choices.mesh);
}

std::string error_of(const Graph& graph, const Choices& choices) {
  try {
    compile(graph, choices, Profile());
  } catch (const PlanError& error) {
    return error.what();
  }
  return "none";
}

// y = x w, of which pins say more.
struct OneProduct {
  Graph graph;
  ValueId x = graph.source("x", DType::f32, {64, 32}, true);
  ValueId w = graph.variable("up.weight", DType::f32, {48, 32}, {"model.py", 4});
  ValueId y = graph.add("linear", {x, w}, {}, "up", {"model.py", 9}).front();
  OneProduct() { graph.output("y", y); }
};

TEST(Deduce, TheBatchSplitFollowsFromTheSource) {
  OneProduct product;
  EXPECT_EQ(deduced(product.graph, choices_on({{"dp", 4}})), R"(source 'x': dp  -> S(0)
variable 'up.weight': dp  -> B
linear 'up.linear': dp S(0), B -> S(0)
to_layout 'fetch.y': dp S(0) -> S(0)
)");
}

TEST(Deduce, PinsAreHonoured) {
  OneProduct product;
  product.graph.pin(pin(product.w, "tp", S(0)));
  product.graph.pin(pin(product.w, "dp", B));
  EXPECT_EQ(deduced(product.graph, choices_on({{"dp", 2}, {"tp", 2}})), R"(source 'x': dp  -> S(0); tp  -> B
variable 'up.weight': dp  -> B; tp  -> S(0)
linear 'up.linear': dp S(0), B -> S(0); tp B, S(0) -> S(1)
to_layout 'fetch.y': dp S(0) -> S(0); tp S(1) -> S(1)
)");
}

TEST(Deduce, APinOnAComputedValueTakesItToThatLayout) {
  OneProduct product;
  product.graph.pin(pin(product.w, "tp", S(1)));
  product.graph.pin(pin(product.y, "tp", B));
  const Compiled compiled = compile(product.graph, choices_on({{"tp", 2}}), Profile());
  const std::string& text = compiled.stages.at("box");
  EXPECT_NE(text.find("piece up.linear@1: f32[64,48] B = all_reduce(axis=tp): P -> B(up.linear)"), std::string::npos)
      << text;
}

TEST(Deduce, MegatronPinsGiveColumnThenRowWithOneReductionAfterEachPair) {
  ModelBuilder model;
  const ValueId x = model.graph.source("x", DType::f32, {32, 256}, true);
  const ValueId up = model.add("relu", {model.linear(x, "up", 256, 1024)}, {}, "up");
  model.graph.output("y", model.linear(up, "down", 1024, 256));
  model.megatron("tp", {"up"}, {"down"});
  model.pin_value("down.linear", "tp", B);
  EXPECT_EQ(compile(model.graph, choices_on({{"tp", 4}}), Profile()).stages.at("box"),
            R"(piece x: f32[32,256] B = source()
step up.weight: f32[1024,256] S(0) = variable()
step up.bias: f32[1024] S(0) = variable()
piece up.linear: f32[32,1024] S(1) = linear(x, up.weight, up.bias)
piece up.relu: f32[32,1024] S(1) = relu(up.linear)
step down.weight: f32[256,1024] S(1) = variable()
step down.bias: f32[256] B = variable()
step down.bias@1: f32[256] P = zero_fill(axis=tp): B -> P(down.bias)
piece down.linear: f32[32,256] P = linear(up.relu, down.weight, down.bias@1)
piece down.linear@1: f32[32,256] B = all_reduce(axis=tp): P -> B(down.linear)
piece down.linear@2: f32[32,256] S(0) = slice(axis=tp, dim=0): B -> S(0)(down.linear@1)
piece y: f32[32,256] S(0) = to_layout(down.linear@2)
)");
}

// Every op takes the first of its cheapest choices when it is asked alone: the scalar product the rows, S(0). Softmax
// over the rows could only go on from there by an exchange.
TEST(Deduce, AChoiceThatIsBestForOneNodeGivesWayToWhatIsBestForAll) {
  const auto graph = [](bool with_softmax) {
    Graph result;
    result.set_role(Role::update);
    const ValueId x = result.variable("x", DType::f32, {512, 512});
    result.pin(pin(x, "tp", B));
    ValueId y = result.add("mul_scalar", {x}, {{"value", 2.0}}, "scaled").front();
    if (with_softmax) y = result.add("softmax", {y}, {{"dim", int64_t{0}}}, "soft").front();
    result.output("y", y);
    return result;
  };
  const Choices choices = choices_on({{"tp", 4}});
  EXPECT_NE(deduced(graph(false), choices).find("mul_scalar 'scaled.mul_scalar': tp S(0) -> S(0)"), std::string::npos);
  EXPECT_NE(deduced(graph(true), choices).find("mul_scalar 'scaled.mul_scalar': tp S(1) -> S(1)"), std::string::npos);
}

TEST(Deduce, StatePiecesAreSharedOutAlongADataAxisWhenNobodySaysOtherwise) {
  ModelBuilder model = mlp_model(2, 64, 512);
  const std::string text = deduced(model.graph, choices_on({{"dp", 4}}));
  EXPECT_NE(text.find("variable 'optimizer.m.layers.0.weight': dp  -> S(0)"), std::string::npos) << text;
}

TEST(Deduce, TotalsAreNeverReadAsPartsAlongADataAxis) {
  ModelBuilder model;
  const ValueId x = model.graph.source("x", DType::f32, {16, 8}, true);
  const ValueId w = model.parameter("w", {8, 8});
  const ValueId once = model.add("linear", {x, w}, {}, "once");
  model.train(model.sum_all(model.add("linear", {once, w}, {}, "twice")));
  const std::string text = deduced(model.graph, choices_on({{"dp", 4}}));
  EXPECT_EQ(text.find("add_n 'w.grad.add_n': dp P"), std::string::npos) << text;
}

TEST(Deduce, NamesAnAxisThatTheMeshLacks) {
  OneProduct product;
  product.graph.pin(pin(product.w, "tensor", S(0), 12));
  EXPECT_EQ(
      error_of(product.graph, choices_on({{"dp", 2}, {"tp", 2}})),
      "variable 'up.weight': up.weight is pinned to S(0) on axis 'tensor', but the mesh has no such axis; 'dp', 'tp' "
      "are possible (model.py:12)");
}

TEST(Deduce, NamesADimThatTheTensorLacks) {
  OneProduct product;
  product.graph.pin(pin(product.y, "tp", S(2), 12));
  EXPECT_EQ(
      error_of(product.graph, choices_on({{"tp", 2}})),
      "linear 'up.linear': up.linear is pinned to S(2) on axis 'tp', but up.linear is f32[64,48] with dims 0..1; S(0), "
      "S(1), B or P are possible (model.py:12)");
}

TEST(Deduce, RefusesAParameterAsAPartialSum) {
  OneProduct product;
  product.graph.pin(pin(product.w, "tp", P, 0, "layouts['*.weight']"));
  EXPECT_EQ(
      error_of(product.graph, choices_on({{"tp", 2}})),
      "variable 'up.weight': up.weight is pinned to P by layouts['*.weight'] on axis 'tp', but a variable is stored "
      "whole or in parts, never as a partial sum; S(0), S(1), B are possible (model.py:4)");
}

TEST(Deduce, NamesTwoPinsThatDisagree) {
  OneProduct product;
  product.graph.pin(pin(product.w, "tp", S(0), 12, "megatron('tp')"));
  product.graph.pin(pin(product.w, "tp", S(1), 20));
  EXPECT_EQ(
      error_of(product.graph, choices_on({{"tp", 2}})),
      "variable 'up.weight': up.weight is pinned to S(1) on axis 'tp', but megatron('tp') asks for S(0) (model.py:12); "
      "only one of the two is possible (model.py:20)");
}

TEST(Deduce, APinAgainstThePlacementOfTheDataIsRefused) {
  OneProduct product;
  product.graph.pin(pin(product.x, "dp", B, 12));
  EXPECT_EQ(error_of(product.graph, choices_on({{"dp", 2}})),
            "source 'x': x is pinned to B on axis 'dp', but the plan already places it as S(0); only one of the two is "
            "possible (model.py:12)");
}

TEST(Deduce, NamesAnOpThatCouplesSamplesOfDifferentPieces) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 4}, true);
  const ValueId y = graph.add("softmax", {x}, {{"dim", int64_t{0}}}, "mix", {"model.py", 12}).front();
  graph.output("y", y);
  EXPECT_EQ(
      error_of(graph, choices_on({{"dp", 2}}, 4)),
      "softmax 'mix.softmax': x is f32[8,4] S(0) along the data axis 'dp', but the op would need it as B: it couples "
      "samples of different pieces; per-sample ops, or one piece, are possible (model.py:12)");
}

}  // namespace
}  // namespace troupe
