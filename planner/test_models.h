// Models with their training step as logical graphs, for tests of plans.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ops/graph.h"
#include "planner/choices.h"

namespace troupe {

// Builds a graph layer by layer. Parameters are named as modules name them: "blocks.0.mlp.up.weight".
class ModelBuilder {
 public:
  Graph graph;

  ValueId add(const char* op, const std::vector<ValueId>& inputs, const Attrs& attrs = {},
              const std::string& scope = "") {
    return graph.add(op, inputs, attrs, scope).front();
  }
  ValueId parameter(const std::string& name, const Shape& shape) {
    parameters_.push_back(graph.variable(name, DType::f32, shape));
    return parameters_.back();
  }
  ValueId linear(ValueId x, const std::string& name, int64_t in, int64_t out, bool bias = true) {
    std::vector<ValueId> inputs = {x, parameter(name + ".weight", {out, in})};
    if (bias) inputs.push_back(parameter(name + ".bias", {out}));
    return add("linear", inputs, {}, name);
  }
  ValueId layer_norm(ValueId x, const std::string& name, int64_t dim) {
    const ValueId scale = parameter(name + ".weight", {dim});
    return add("layer_norm", {x, scale, parameter(name + ".bias", {dim})}, {{"eps", 1e-5}}, name);
  }
  ValueId attention(ValueId x, const std::string& name, int64_t dim, int64_t heads, bool causal) {
    const Shape shape = graph.value(x).type.shape;
    const auto head = [&](const char* which) {
      const ValueId y = linear(x, name + "." + which, dim, dim);
      return reshape(y, {shape[0], shape[1], heads, dim / heads}, name);
    };
    const ValueId q = head("q");
    const ValueId k = head("k");
    const ValueId v = head("v");
    const ValueId mixed =
        add("attention", {q, k, v}, {{"causal", int64_t{causal}}, {"scale", 0.125}, {"seq_dim", int64_t{1}}}, name);
    return linear(reshape(mixed, shape, name), name + ".out", dim, dim);
  }
  ValueId reshape(ValueId x, const Shape& shape, const std::string& scope) {
    return add("reshape", {x}, {{"shape", shape.vector()}}, scope);
  }
  ValueId feed_forward(ValueId x, const std::string& name, int64_t dim) {
    const ValueId up = add("gelu", {linear(x, name + ".up", dim, 4 * dim)}, {}, name);
    return linear(up, name + ".down", 4 * dim, dim);
  }
  ValueId sum_all(ValueId x) {
    std::vector<int64_t> dims;
    for (int64_t d = 0; d < graph.value(x).type.shape.rank(); ++d) dims.push_back(d);
    return add("reduce_sum", {x}, {{"dims", dims}, {"keep", int64_t{0}}}, "loss");
  }
  ValueId constant(double value, const char* dtype = "f32") {
    return add("fill", {}, {{"value", value}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string(dtype)}},
               "constant");
  }

  // Backward pass and AdamW; outputs "loss". `clip`: by the global norm of the gradients.
  void train(ValueId loss, bool clip = false) {
    const std::vector<ValueId> gradients = graph.gradients(loss, parameters_);
    graph.set_role(Role::update);
    const ValueId one = constant(1);
    ValueId scale = one;
    ValueId ok = add("is_finite", {loss}, {}, "optimizer");
    if (clip) {
      std::vector<ValueId> squares;
      for (ValueId gradient : gradients) {
        squares.push_back(add("tree_sum", {add("row_sum_squares", {gradient}, {}, "norm")}, {}, "norm"));
      }
      const ValueId norm = add("sqrt", {add("add_n", squares, {}, "norm")}, {}, "norm");
      scale = add("global_norm_scale", {norm}, {{"max_norm", 1.0}}, "norm");
      ok = add("is_finite", {loss, norm}, {}, "optimizer");
    }
    const ValueId lr = add("mul_scalar", {one}, {{"value", 1e-2}}, "optimizer");
    const ValueId step = graph.variable("optimizer.step", DType::i64, {});
    for (size_t p = 0; p < parameters_.size(); ++p) {
      const std::string name = graph.value(parameters_[p]).name;
      const Shape shape = graph.value(parameters_[p]).type.shape;
      const ValueId m = graph.variable("optimizer.m." + name, DType::f32, shape);
      const ValueId v = graph.variable("optimizer.v." + name, DType::f32, shape);
      const std::vector<ValueId> next = graph.add("adamw", {parameters_[p], gradients[p], lr, scale, ok, step, m, v},
                                                  {{"weight_decay", 0.01}}, "optimizer." + name);
      graph.assign(parameters_[p], next[0]);
      graph.assign(m, next[1]);
      graph.assign(v, next[2]);
    }
    graph.assign(step, add("add", {step, constant(1, "i64")}, {}, "optimizer"));
    graph.output("loss", add("mul", {loss, one}, {}, "loss"));  // an update's value: one for the step
  }

  // Pins every parameter whose name ends like this, and the optimizer's state that goes with it.
  void pin(const std::string& ending, const std::string& axis, Sbp sbp) {
    for (const Variable& variable : graph.variables()) {
      if (variable.name.ends_with(ending)) graph.pin({variable.value, axis, sbp, {}, "layouts"});
    }
  }
  // Pins every value whose name ends like this.
  void pin_value(const std::string& ending, const std::string& axis, Sbp sbp) {
    for (size_t v = 0; v < graph.values().size(); ++v) {
      if (graph.values()[v].name.ends_with(ending))
        graph.pin({ValueId(static_cast<int64_t>(v)), axis, sbp, {}, "layouts"});
    }
  }
  // As the recipe: these layers by their outputs, those by their inputs.
  void megatron(const std::string& axis, const std::vector<std::string>& columns,
                const std::vector<std::string>& rows) {
    for (const std::string& name : columns) {
      pin(name + ".weight", axis, S(0));
      pin(name + ".bias", axis, S(0));
    }
    for (const std::string& name : rows) {
      pin(name + ".weight", axis, S(1));
      pin(name + ".bias", axis, B);
    }
  }
  // As the recipe zero(2), and with `per_pass` zero(3): every parameter in parts along a data axis.
  void zero(const std::string& axis, Choices& choices, bool per_pass) {
    for (ValueId parameter : parameters_) {
      graph.pin({parameter, axis, S(0), {}, "zero"});
      if (per_pass) choices.gathered_per_pass.insert(graph.value(parameter).name);
    }
  }
  const std::vector<ValueId>& parameters() const { return parameters_; }

 private:
  std::vector<ValueId> parameters_;
};

// `layers` linear layers of `hidden` to `hidden` with relu between, "0", "1", ...; the loss is the sum of squares.
inline ModelBuilder mlp_model(int layers, int64_t batch, int64_t hidden) {
  ModelBuilder model;
  ValueId x = model.graph.source("x", DType::f32, {batch, hidden}, true);
  for (int layer = 0; layer < layers; ++layer) {
    x = model.linear(x, "layers." + std::to_string(layer), hidden, hidden);
    if (layer + 1 < layers) x = model.add("relu", {x}, {}, "layers." + std::to_string(layer));
  }
  model.train(model.sum_all(model.add("square", {x}, {}, "loss")));
  return model;
}

// An encoder of `layers` post-norm blocks; its input is data.
inline ModelBuilder bert_model(int layers, int64_t batch, int64_t seq, int64_t dim, int64_t heads) {
  ModelBuilder model;
  ValueId x = model.graph.source("x", DType::f32, {batch, seq, dim}, true);
  for (int layer = 0; layer < layers; ++layer) {
    const std::string name = "blocks." + std::to_string(layer);
    x = model.add("add", {x, model.attention(x, name + ".attn", dim, heads, false)}, {}, name);
    x = model.layer_norm(x, name + ".ln1", dim);
    x = model.add("add", {x, model.feed_forward(x, name + ".mlp", dim)}, {}, name);
    x = model.layer_norm(x, name + ".ln2", dim);
  }
  model.train(model.sum_all(model.add("square", {x}, {}, "loss")));
  return model;
}

struct ExpertsShape {
  int64_t batch = 64;
  int64_t seq = 16;
  int64_t dim = 64;
  int64_t experts = 16;
  int64_t capacity = 2;
  bool dropless = false;
};

// A linear layer, so that the input of what follows needs a gradient, then an MLP per expert of which every token takes
// two. The loss is the sum of squares.
inline ModelBuilder experts_model(const ExpertsShape& shape) {
  ModelBuilder model;
  ValueId x = model.graph.source("x", DType::f32, {shape.batch, shape.seq, shape.dim}, true);
  x = model.linear(x, "before", shape.dim, shape.dim);
  const ValueId logits = model.linear(x, "router", shape.dim, shape.experts, false);
  const ValueId probabilities = model.add("softmax", {logits}, {{"dim", int64_t{2}}}, "router");
  const std::vector<ValueId> chosen = model.graph.add("top_k", {probabilities}, {{"k", int64_t{2}}}, "router");
  Attrs sizes = {{"experts", shape.experts}, {"capacity", shape.capacity}};
  Attrs places_attrs = sizes;
  places_attrs.set("dropless", int64_t{shape.dropless});
  const std::vector<ValueId> placed = model.graph.add("expert_places", {chosen[1]}, places_attrs, "router");
  const auto linear = [&](ValueId from, const char* name, int64_t in, int64_t out) {
    std::vector<ValueId> inputs = {from, model.parameter(name, {shape.experts, out, in})};
    if (shape.dropless) inputs.push_back(placed[0]);
    return model.add("expert_linear", inputs, {}, "experts");
  };
  const ValueId buffer = model.add("dispatch", {x, chosen[1], placed[1]}, sizes, "experts");
  const ValueId up = model.add("gelu", {linear(buffer, "experts.up.weight", shape.dim, 2 * shape.dim)}, {}, "experts");
  const ValueId down = linear(up, "experts.down.weight", 2 * shape.dim, shape.dim);
  x = model.add("combine", {down, chosen[1], placed[1], chosen[0]}, {}, "experts");
  model.train(model.sum_all(model.add("square", {x}, {}, "loss")));
  return model;
}

// As the recipe expert_parallel: rows of a piece and experts split, all other parameters whole.
inline void split_experts(ModelBuilder& model, const std::string& axis) {
  for (const Variable& variable : model.graph.variables()) {
    const bool is_expert = variable.name.find("experts.") != std::string::npos;
    if (variable.name.ends_with("weight") || variable.name.ends_with("bias")) {
      model.graph.pin({variable.value, axis, is_expert ? S(0) : B, {}, "expert_parallel"});
    }
  }
  model.graph.pin({model.graph.sources().front().value, axis, S(0), {}, "expert_parallel"});
}

struct GptShape {
  int64_t vocab = 256;
  int layers = 4;
  int64_t dim = 256;
  int64_t heads = 8;
  int64_t seq = 256;
  int64_t rows = 8;  // of a round
};

// Tokens "x", next tokens "y" -> the sum of cross entropies.
inline ModelBuilder gpt_model(const GptShape& shape) {
  ModelBuilder model;
  const ValueId ids = model.graph.source("x", DType::i32, {shape.rows, shape.seq}, true);
  const ValueId labels = model.graph.source("y", DType::i32, {shape.rows, shape.seq}, true);
  const ValueId table = model.parameter("tok.weight", {shape.vocab, shape.dim});
  const ValueId places = model.parameter("pos.weight", {shape.seq, shape.dim});
  ValueId x = model.add("add", {model.add("embedding", {ids, table}, {}, "tok"), places}, {}, "pos");
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string name = "blocks." + std::to_string(layer);
    const ValueId first = model.layer_norm(x, name + ".ln1", shape.dim);
    x = model.add("add", {x, model.attention(first, name + ".attn", shape.dim, shape.heads, true)}, {}, name);
    const ValueId second = model.layer_norm(x, name + ".ln2", shape.dim);
    x = model.add("add", {x, model.feed_forward(second, name + ".mlp", shape.dim)}, {}, name);
  }
  const ValueId logits = model.linear(model.layer_norm(x, "ln", shape.dim), "head", shape.dim, shape.vocab, false);
  model.train(model.sum_all(model.add("cross_entropy", {logits, labels}, {}, "loss")), true);
  return model;
}

// The recipe for these models: attention and feed-forward by heads and by hidden units.
inline void split_blocks(ModelBuilder& model, const std::string& axis) {
  model.megatron(axis, {".q", ".k", ".v", ".up"}, {".out", ".down"});
}

// Cuts `choices` along "pp": these modules, in order, as evenly as their number allows.
inline void cut_pipeline(Choices& choices, const std::vector<std::string>& modules, Schedule schedule,
                         int chunks_per_stage = 1) {
  choices.cut_stages("pp");
  Pipeline& pipeline = choices.pipeline;
  pipeline.schedule = schedule;
  pipeline.chunks = pipeline.stage_count() * chunks_per_stage;
  for (int chunk = 0; chunk < pipeline.chunks; ++chunk) {
    const Part part = part_of(static_cast<int64_t>(modules.size()), pipeline.chunks, chunk);
    for (int64_t m = part.offset; m < part.offset + part.size; ++m) {
      pipeline.chunk_of[modules[static_cast<size_t>(m)]] = chunk;
    }
  }
}

// Devices cpu:0... in a mesh of these axes; "dp" and "fsdp" are data axes.
// y[rows, columns] = a b, with the sum over `inner` split along tp and wanted by all: an all-reduce.
inline Graph summed_product(int64_t rows, int64_t inner, int64_t columns) {
  Graph graph;
  graph.set_role(Role::update);
  const ValueId a = graph.variable("a", DType::f32, {rows, inner});
  const ValueId b = graph.variable("b", DType::f32, {inner, columns});
  graph.pin({a, "tp", S(1), {}, ""});
  graph.pin({b, "tp", S(0), {}, ""});
  const ValueId y = graph.add("matmul", {a, b}, {}, "y").front();
  graph.pin({y, "tp", B, {}, ""});
  graph.output("y", y);
  return graph;
}

inline Choices choices_on(const std::vector<Axis>& axes, int batch_shards = 0, int pieces_per_shard = 1) {
  Choices choices;
  choices.name = "train";
  choices.mesh = Mesh(axes);
  for (int d = 0; d < choices.mesh.size(); ++d) choices.devices.push_back("cpu:" + std::to_string(d));
  for (const char* axis : {"dp", "fsdp"}) {
    if (choices.mesh.find_axis(axis) >= 0) choices.data_axes.push_back(axis);
  }
  choices.batch_shards = batch_shards > 0 ? batch_shards : choices.data_parallel_size();
  choices.pieces_per_shard = pieces_per_shard;
  choices.topology = Topology::one_host(choices.mesh.size());
  return choices;
}

// Puts each stage on these devices, cpu:0 and so on; a device may be of several stages.
inline void put_stages_on(Choices& choices, const std::vector<std::vector<int>>& devices_of_stage) {
  int count = 0;
  choices.pipeline.stages.clear();
  for (const std::vector<int>& devices : devices_of_stage) {
    count = std::max(count, *std::max_element(devices.begin(), devices.end()) + 1);
    choices.pipeline.stages.emplace_back(choices.mesh.axes(), std::vector<DeviceId>(devices.begin(), devices.end()));
  }
  choices.mesh = choices.pipeline.stages.front();
  choices.devices.clear();
  for (int d = 0; d < count; ++d) choices.devices.push_back("cpu:" + std::to_string(d));
  choices.topology = Topology::one_host(count);
}

}  // namespace troupe
