#include "tests/walk/mlp.h"

namespace troupe {
namespace {

ValueId constant(Graph& graph, double value, const std::string& dtype) {
  return graph.add("fill", {}, {{"value", value}, {"shape", std::vector<int64_t>{}}, {"dtype", dtype}}, "constant")
      .front();
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
  const ValueId sum =
      graph.add("reduce_sum", {rows_loss}, {{"dims", std::vector<int64_t>{0}}, {"keep", int64_t{0}}}, "loss").front();
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

Batches mlp_batches(const MlpShape& shape) {
  return {{"x", random_numbers("x", {shape.batch, shape.in})}, {"y", random_ids("y", {shape.batch}, shape.classes)}};
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

int64_t rows_of_round(const MlpShape& shape, const Choices& choices) {
  return shape.batch / (choices.batch_shards * choices.pieces_per_shard) * choices.data_parallel_size();
}

Trained train_mlp(const MlpShape& shape, const Choices& choices, int steps, const HowToRun& how) {
  return train(mlp_graph(shape, rows_of_round(shape, choices)), choices, mlp_batches(shape), steps, how);
}

Trained interpret_mlp(const MlpShape& shape, int steps) {
  return interpret_training(mlp_graph(shape, shape.batch), mlp_batches(shape), steps);
}

}  // namespace troupe
