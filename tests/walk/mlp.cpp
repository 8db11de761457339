#include "tests/walk/mlp.h"

#include <cmath>
#include <cstring>
#include <memory>

#include "actors/engine/engine.h"
#include "actors/engine/thread_runner.h"
#include "ops/cpu/movement.h"
#include "planner/compile.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

std::vector<double> formula(const std::string& name, int64_t count, double scale) {
  Random random(hash_path(name));
  std::vector<double> numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(scale * (2 * random.uniform() - 1));
  return numbers;
}

ValueId constant(Graph& graph, double value, const std::string& dtype) {
  return graph.add("fill", {}, {{"value", value}, {"shape", std::vector<int64_t>{}}, {"dtype", dtype}}, "constant").front();
}

}  // namespace

Graph mlp_graph(const MlpShape& shape, int64_t rows) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {rows, shape.in}, true);
  const ValueId y = graph.source("y", DType::i32, {rows}, true);
  std::vector<ValueId> parameters = {graph.variable("up.weight", DType::f32, {shape.hidden, shape.in}),
                                     graph.variable("up.bias", DType::f32, {shape.hidden}),
                                     graph.variable("down.weight", DType::f32, {shape.classes, shape.hidden}),
                                     graph.variable("down.bias", DType::f32, {shape.classes})};
  const ValueId up = graph.add("linear", {x, parameters[0], parameters[1]}, {}, "up").front();
  const ValueId hidden = graph.add("gelu", {up}, {}, "").front();
  const ValueId logits = graph.add("linear", {hidden, parameters[2], parameters[3]}, {}, "down").front();
  const ValueId rows_loss = graph.add("cross_entropy", {logits, y}, {}, "loss").front();
  const ValueId sum = graph.add("reduce_sum", {rows_loss}, {{"dims", std::vector<int64_t>{0}}, {"keep", int64_t{0}}}, "loss").front();
  const ValueId weight = graph.add("count_labels", {y}, {{"dtype", std::string("f32")}}, "loss").front();
  const std::vector<ValueId> gradients = graph.gradients(sum, parameters);

  graph.set_role(Role::update);
  const ValueId one = constant(graph, 1, "f32");
  const ValueId mean_scale = graph.add("div", {one, weight}, {}, "update").front();
  std::vector<ValueId> squares;
  for (ValueId gradient : gradients) {
    const ValueId by_row = graph.add("row_sum_squares", {gradient}, {}, "clip").front();
    squares.push_back(graph.add("tree_sum", {by_row}, {}, "clip").front());
  }
  const ValueId norm_of_sum = graph.add("sqrt", {graph.add("add_n", squares, {}, "clip").front()}, {}, "clip").front();
  const ValueId norm = graph.add("mul", {norm_of_sum, mean_scale}, {}, "clip").front();
  const ValueId clip = graph.add("global_norm_scale", {norm}, {{"max_norm", 0.5}}, "clip").front();
  const ValueId scale = graph.add("mul", {clip, mean_scale}, {}, "update").front();
  const ValueId ok = graph.add("is_finite", {sum, norm}, {}, "update").front();
  const ValueId lr = graph.add("mul_scalar", {one}, {{"value", 0.3}}, "update").front();
  for (size_t p = 0; p < parameters.size(); ++p) {
    const std::string name = graph.value(parameters[p]).name;
    const ValueId momentum = graph.variable(name + ".momentum", DType::f32, graph.value(parameters[p]).type.shape);
    const std::vector<ValueId> next =
        graph.add("sgd", {parameters[p], gradients[p], lr, scale, ok, momentum}, {{"momentum", 0.9}}, "sgd");
    graph.assign(parameters[p], next[0]);
    graph.assign(momentum, next[1]);
  }
  const ValueId steps = graph.variable("steps", DType::i64, {});
  const ValueId one_step = constant(graph, 1, "i64");
  graph.assign(steps, graph.add("add", {steps, one_step}, {}, "steps").front());
  graph.output("loss", graph.add("mul", {sum, mean_scale}, {}, "loss").front());
  graph.output("norm", norm);
  return graph;
}

HostTensor mlp_inputs(const MlpShape& shape, int64_t step) {
  HostTensor x({DType::f32, {shape.batch, shape.in}});
  x.set_numbers(formula("x" + std::to_string(step), x.elements(), 2));
  return x;
}

HostTensor mlp_labels(const MlpShape& shape, int64_t step) {
  HostTensor y({DType::i32, {shape.batch}});
  std::vector<double> labels = formula("y" + std::to_string(step), y.elements(), 1);
  for (double& label : labels) label = std::floor((label + 1) / 2 * static_cast<double>(shape.classes));
  y.set_numbers(labels);
  return y;
}

std::map<std::string, HostTensor> mlp_variables(const Graph& graph) {
  std::map<std::string, HostTensor> values;
  for (const Variable& variable : graph.variables()) {
    HostTensor value(graph.value(variable.value).type);
    const bool parameter = variable.name.ends_with("weight") || variable.name.ends_with("bias");
    if (parameter) value.set_numbers(formula(variable.name, value.elements(), 0.4));
    values.emplace(variable.name, std::move(value));
  }
  return values;
}

void BatchSource::read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string*) {
  const HostTensor whole = batch_(shape_, firing.step);
  const TensorView view = whole.view();
  Dims from = out.offset;
  from[0] += (static_cast<int64_t>(firing.shard) * pieces_per_shard + firing.piece) * out.logical[0];
  const Dims zero = Dims::filled(out.shape.rank(), 0);
  cpu::copy_box(out.data, out.shape.begin(), zero.begin(), view.data, view.shape.begin(), from.begin(), out.shape.begin(),
                out.shape.rank(), size_of(out.dtype));
}

Choices mlp_choices(int dp, int tp, int batch_shards, int pieces_per_shard) {
  Choices choices;
  choices.name = "train";
  choices.mesh = Mesh({{"dp", dp}, {"tp", tp}});
  for (int d = 0; d < dp * tp; ++d) choices.devices.push_back("cpu:" + std::to_string(d));
  choices.data_axes = {"dp"};
  choices.batch_shards = batch_shards;
  choices.pieces_per_shard = pieces_per_shard;
  return choices;
}

TrainedMlp train_mlp(const MlpShape& shape, const Choices& choices, int steps, int executors) {
  const int64_t rows = shape.batch / (choices.batch_shards * choices.pieces_per_shard) * choices.data_parallel_size();
  const Graph graph = mlp_graph(shape, rows);
  const auto plan = std::make_shared<const Plan>(compile(graph, choices, Profile()).plan);
  KernelTable kernels;
  add_cpu_kernels(kernels);
  SteadyClock clock;
  Engine engine(kernels, {.executors = executors, .spin_s = 50e-6, .place = {}}, clock);
  ThreadRunner runner(engine);
  const PlanHandle handle = engine.load(plan, {{"x", std::make_shared<BatchSource>(shape, mlp_inputs)},
                                               {"y", std::make_shared<BatchSource>(shape, mlp_labels)}});
  std::map<std::string, HostTensor> values = mlp_variables(graph);
  const auto bytes_of = [](const HostTensor& tensor) {
    return std::span(tensor.view().as<std::byte>(), static_cast<size_t>(tensor.view().bytes()));
  };
  for (const PlanVariable& variable : plan->variables) {
    engine.write(handle, variable, bytes_of(values.at(variable.name)));
  }
  TrainedMlp result;
  for (int step = 0; step < steps; ++step) {
    engine.run(handle, step, 1);
    float loss = 0;
    engine.fetch(handle, plan->outputs.front(), std::as_writable_bytes(std::span(&loss, 1)));
    result.losses.push_back(loss);
  }
  for (const PlanVariable& variable : plan->variables) {
    engine.read(handle, variable, bytes_of(values.at(variable.name)));
  }
  result.variables = std::move(values);
  return result;
}

TrainedMlp interpret_mlp(const MlpShape& shape, int steps) {
  const Graph graph = mlp_graph(shape, shape.batch);
  TrainedMlp result{{}, mlp_variables(graph)};
  for (int step = 0; step < steps; ++step) {
    std::map<ValueId, HostTensor> given = {{graph.sources()[0].value, mlp_inputs(shape, step)},
                                           {graph.sources()[1].value, mlp_labels(shape, step)}};
    std::vector<ValueId> wanted = {graph.outputs().front().value};
    for (const Variable& variable : graph.variables()) {
      given.emplace(variable.value, result.variables.at(variable.name));
      wanted.push_back(variable.next);
    }
    const std::vector<HostTensor> values = interpret(graph, given, wanted);
    result.losses.push_back(values.front().as<float>().front());
    for (size_t v = 0; v < graph.variables().size(); ++v) {
      result.variables.insert_or_assign(graph.variables()[v].name, values[v + 1]);
    }
  }
  return result;
}

}  // namespace troupe
