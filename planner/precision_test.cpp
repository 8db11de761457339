#include "planner/precision.h"

#include <gtest/gtest.h>

#include "ops/interpret.h"
#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

// The lines of a graph's text that begin with one of these paths.
std::string lines_of(const Graph& graph, const std::string& begin) {
  std::string result;
  for (const Node& node : graph.nodes()) {
    if (!node.path.starts_with(begin)) continue;
    result += node.path + ":";
    for (ValueId output : node.outputs) result += " " + std::string(name_of(graph.value(output).type.dtype));
    result += "\n";
  }
  return result;
}

int count_of(const Graph& graph, const std::string& op) {
  int count = 0;
  for (const Node& node : graph.nodes()) count += node.op->name == op;
  return count;
}

TEST(Precision, CastsEachValueOnceAndKeepsSumsInFloat32) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {4, 8}, true);
  const ValueId w = graph.variable("up.weight", DType::f32, {6, 8});
  const ValueId v = graph.variable("down.weight", DType::f32, {8, 6});
  const ValueId h = graph.add("linear", {x, w}, {}, "up").front();
  const ValueId y = graph.add("linear", {graph.add("gelu", {h}, {}, "act").front(), v}, {}, "down").front();
  const ValueId sum = graph.add("add", {x, y}, {}, "stream").front();  // float32 and bfloat16: float32
  const ValueId loss =
      graph.add("reduce_sum", {sum}, {{"dims", std::vector<int64_t>{0, 1}}, {"keep", int64_t{0}}}, "loss").front();
  const std::vector<ValueId> gradients = graph.gradients(loss, {w, v});
  graph.set_role(Role::update);
  graph.assign(w, graph.add("sub", {w, gradients[0]}, {}, "update").front());
  graph.assign(v, graph.add("sub", {v, gradients[1]}, {}, "update").front());
  graph.output("loss", loss);

  const Graph low = in_precision(graph, DType::bf16);
  EXPECT_EQ(lines_of(low, "x"), "x: f32\nx.cast: bf16\n");
  EXPECT_EQ(lines_of(low, "up"),
            "up.weight: f32\nup.weight.cast: bf16\nup.linear: bf16\n"
            "up.linear.grad.linear_weight_gradient: f32\nupdate.sub: f32\nupdate.sub#2: f32\n");
  EXPECT_EQ(lines_of(low, "act"), "act.gelu: bf16\nact.gelu.grad.gelu_gradient: bf16\n");
  EXPECT_EQ(lines_of(low, "stream"), "stream.add: f32\n");
  EXPECT_EQ(low.variables().size(), graph.variables().size());
  for (const Variable& variable : low.variables()) EXPECT_EQ(low.value(variable.next).type.dtype, DType::f32);
  // x, both weights, y for the sum, and the gradient of y: each once.
  EXPECT_EQ(count_of(low, "cast"), 5);
}

TEST(Precision, ABiasGradientSumsBFloat16InFloat32) {
  const ModelBuilder model = bert_model(1, 4, 8, 32, 4);
  const Graph low = in_precision(model.graph, DType::bf16);
  int sums = 0;
  for (const Node& node : low.nodes()) {
    if (node.op->name != "row_sum" || !node.path.starts_with("blocks.0.mlp.up")) continue;
    EXPECT_EQ(low.value(node.inputs[0]).type.dtype, DType::bf16);
    EXPECT_EQ(low.value(node.outputs[0]).type.dtype, DType::f32);
    ++sums;
  }
  EXPECT_EQ(sums, 1);
}

TEST(Precision, AGraphWithoutSuchOpsStaysAsItIs) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f64, {4, 8}, true);
  const ValueId w = graph.variable("w", DType::f64, {6, 8});
  graph.output("y", graph.add("linear", {x, w}, {}, "m").front());
  EXPECT_EQ(in_precision(graph, DType::bf16).str(), graph.str());
}

// The numbers of a block in bfloat16 are those in float32 within bfloat16's precision.
TEST(Precision, ABlockGivesNearlyTheSame) {
  const ModelBuilder model = bert_model(1, 4, 8, 32, 4);
  const Graph low = in_precision(model.graph, DType::bf16);
  std::map<ValueId, HostTensor> given, low_given;
  for (size_t n = 0; n < model.graph.nodes().size(); ++n) {
    const Node& node = model.graph.nodes()[n];
    if (node.op->name != "variable" && node.op->name != "source") continue;
    const TensorType& type = model.graph.value(node.outputs[0]).type;
    HostTensor tensor(type);
    Random random(hash_path(node.path));
    std::vector<double> numbers;
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      numbers.push_back(is_float(type.dtype) ? 0.5 * (random.uniform() - 0.5) : static_cast<double>(random.below(4)));
    }
    tensor.set_numbers(numbers);
    given.emplace(node.outputs[0], tensor);
    for (const Node& other : low.nodes()) {
      if (other.path == node.path) low_given.emplace(other.outputs[0], tensor);
    }
  }
  ASSERT_FALSE(model.graph.outputs().empty());
  for (size_t i = 0; i < model.graph.outputs().size(); ++i) {
    const double right = interpret(model.graph, given, std::vector{model.graph.outputs()[i].value})[0].numbers()[0];
    const double found = interpret(low, low_given, std::vector{low.outputs()[i].value})[0].numbers()[0];
    EXPECT_NEAR(found, right, 0.01 * std::abs(right)) << model.graph.outputs()[i].name;
    EXPECT_NE(found, right) << "computed in float32 after all";
  }
}

// Parameters stored in parts are gathered in bfloat16, for each pass.
TEST(Precision, ZeroGathersBFloat16) {
  ModelBuilder model = mlp_model(6, 256, 32);
  Choices choices = choices_on({{"dp", 4}});
  model.zero("dp", choices, true);
  choices.precision = DType::bf16;
  int64_t bytes = 0;
  for (const PlanTraffic& row : compile(model.graph, choices, Profile()).plan.promise.traffic) {
    if (row.kind == "all_gather") bytes += row.bytes;
  }
  // Weights forward, all but the first backward, biases forward; three parts from others on four devices.
  EXPECT_EQ(bytes, (6 + 5) * (32 * 32 * 2) * 3 + 6 * (32 * 2) * 3);
}

}  // namespace
}  // namespace troupe
