// Gradients against central differences of the loss, in float64.

#include <gtest/gtest.h>

#include <cmath>

#include "ops/test_use_cases.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

// loss = sum over the differentiable outputs of sum(output * weights): every element of the gradient counts.
struct LossGraph {
  Graph graph;
  std::map<ValueId, HostTensor> given;
  std::vector<ValueId> inputs;
  ValueId loss;

  void source(const std::string& name, const HostTensor& tensor) {
    inputs.push_back(graph.source(name, tensor.type().dtype, tensor.type().shape, false));
    given.emplace(inputs.back(), tensor);
  }
  double value() const { return interpret(graph, given, std::vector{loss}, {.seed = 3})[0].as<double>()[0]; }
};

LossGraph loss_of(const UseCase& use) {
  LossGraph result;
  Graph& graph = result.graph;
  for (const HostTensor& input : use.inputs()) result.source("x" + std::to_string(result.inputs.size()), input);
  const std::vector<ValueId> outputs = graph.add(use.op, result.inputs, use.attrs, "model");
  std::vector<ValueId> sums;
  for (int i : use.differentiable) {
    const ValueId output = outputs[static_cast<size_t>(i)];
    const Shape shape = graph.value(output).type.shape;
    const ValueId weights =
        graph
            .add("random_normal", {},
                 {{"shape", shape.vector()}, {"dtype", std::string("f64")}, {"mean", 0.0}, {"std", 1.0}},
                 "weights" + std::to_string(i))
            .front();
    const ValueId wide = graph.add("cast", {output}, {{"dtype", std::string("f64")}}).front();
    const ValueId product = graph.add("mul", {wide, weights}).front();
    std::vector<int64_t> dims;
    for (int d = 0; d < shape.rank(); ++d) dims.push_back(d);
    sums.push_back(graph.add("reduce_sum", {product}, {{"dims", dims}}).front());
  }
  result.loss = graph.add("add_n", sums).front();
  return result;
}

bool is_differentiable(const UseCase& use) { return use.def().gradient != nullptr && !use.differentiable.empty(); }

TEST(Gradients, EqualCentralDifferences) {
  constexpr double step = 1e-5;
  int checked = 0;
  for (const UseCase& use : use_cases()) {
    if (!is_differentiable(use)) continue;
    LossGraph loss = loss_of(use);
    std::vector<ValueId> wrt;
    for (ValueId input : loss.inputs) {
      if (loss.graph.value(input).type.dtype == DType::f64) wrt.push_back(input);
    }
    if (wrt.empty() || !is_float(use.output_types()[0].dtype)) continue;
    const std::vector<ValueId> gradients = loss.graph.gradients(loss.loss, wrt);
    for (size_t i = 0; i < wrt.size(); ++i) {
      if (!gradients[i].valid()) continue;
      const std::vector<double> found =
          interpret(loss.graph, loss.given, std::vector{gradients[i]}, {.seed = 3})[0].numbers();
      std::vector<double> expected;
      const std::span<double> x = loss.given.at(wrt[i]).as<double>();
      for (double& element : x) {
        const double before = element;
        element = before + step;
        const double above = loss.value();
        element = before - step;
        expected.push_back((above - loss.value()) / (2 * step));
        element = before;
      }
      const bool rounds = use.op == "cast" && use.attrs.text("dtype") == "f32";
      EXPECT_EQ(difference(found, expected, rounds ? 0.1 : 1e-7), "") << use.str() << ", operand " << i;
      ++checked;
    }
  }
  EXPECT_GT(checked, 100);
}

TEST(Gradients, EveryOpWithFloatOutputsHasOneOrIsMadeByThem) {
  // Ops of the backward pass, of updates and of decompositions end a graph that is differentiated.
  const auto ends = [](const std::string& name) {
    for (const char* op : {"variable",
                           "source",
                           "fill",
                           "assign",
                           "accumulate",
                           "merge_attention",
                           "halves",
                           "join_halves",
                           "exp_sum",
                           "picked_logit",
                           "count_labels",
                           "channel_sum",
                           "channel_square_sum",
                           "channel_product_sum",
                           "channel_normalize",
                           "expert_places",
                           "routed_dot",
                           "random_normal",
                           "random_uniform",
                           "row_sum_squares",
                           "tree_sum",
                           "global_norm_scale",
                           "is_finite",
                           "loss_scale_update",
                           "sgd",
                           "adamw",
                           "apply_update",
                           "lamb",
                           "lamb_rate",
                           "mean_squares",
                           "adafactor_moment",
                           "adafactor_direction",
                           "adafactor_rate",
                           "muon_momentum",
                           "newton_schulz"}) {
      if (name == op) return true;
    }
    return name.ends_with("_gradient");
  };
  for (const OpDef& op : all_ops()) EXPECT_EQ(op.gradient == nullptr, ends(op.name)) << op.name;
}

TEST(Gradients, OfSeveralUsesAreAddedInGraphOrder) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f64, {3}, false);
  const ValueId first = graph.add("mul_scalar", {x}, {{"value", 2.0}}).front();
  const ValueId second = graph.add("mul_scalar", {x}, {{"value", 3.0}}).front();
  const ValueId sum =
      graph.add("reduce_sum", {graph.add("add", {first, second}).front()}, {{"dims", std::vector<int64_t>{0}}}).front();
  const ValueId dx = graph.gradients(sum, {x}).front();
  const Node& total = graph.node(graph.value(dx).producer);
  EXPECT_EQ(total.op->name, "add_n");
  EXPECT_EQ(graph.node(graph.value(total.inputs[0]).producer).origin, graph.value(first).producer);
  EXPECT_EQ(graph.node(graph.value(total.inputs[1]).producer).origin, graph.value(second).producer);
}

TEST(Gradients, GrowWithTheirSeed) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f64, {}, false);
  const ValueId seed = graph.source("seed", DType::f64, {}, false);
  const ValueId loss = graph.add("square", {x}).front();
  const std::vector<ValueId> found = {graph.gradients(loss, {x}).front(), graph.gradients(loss, {x}, seed).front()};
  std::map<ValueId, HostTensor> given;
  for (ValueId source : {x, seed}) {
    given.emplace(source, HostTensor(TensorType{DType::f64, {}}));
    given.at(source).set_numbers(std::vector{source == x ? 3.0 : 8.0});
  }
  const std::vector<HostTensor> gradients = interpret(graph, given, found);
  EXPECT_EQ(gradients[0].numbers()[0], 6);
  EXPECT_EQ(gradients[1].numbers()[0], 48);
}

TEST(Gradients, OfAValueThatTheLossDoesNotDependOnIsInvalid) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f64, {}, false);
  const ValueId y = graph.source("y", DType::f64, {}, false);
  const ValueId loss = graph.add("square", {x}).front();
  const std::vector<ValueId> gradients = graph.gradients(loss, {x, y});
  EXPECT_TRUE(gradients[0].valid());
  EXPECT_FALSE(gradients[1].valid());
}

TEST(Gradients, OfATensorAreRefused) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {4}, false);
  const ValueId y = graph.add("exp", {x}, {}, "model", {"model.py", 7}).front();
  try {
    graph.gradients(y, {x});
    FAIL();
  } catch (const PlanError& error) {
    EXPECT_STREQ(error.what(),
                 "exp 'model.exp': a gradient is taken of a scalar, but this is f32[4]; reduce it with "
                 "sum or mean (model.py:7)");
  }
}

}  // namespace
}  // namespace troupe
