// Whole graphs with their gradients on meshes: every node takes some signature, boxing stands between them, and all
// results are those of one device.

#include <gtest/gtest.h>

#include "ops/test_mesh_run.h"
#include "ops/test_use_cases.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

struct Program {
  Graph graph;
  std::map<ValueId, HostTensor> given;
  std::vector<ValueId> results;

  ValueId variable(const std::string& name, const Shape& shape) {
    const ValueId id = graph.variable(name, DType::f64, shape);
    HostTensor tensor({DType::f64, shape});
    Random random(hash_path(name));
    for (double& number : tensor.as<double>()) number = random.uniform() - 0.5;
    given.emplace(id, tensor);
    return id;
  }
  ValueId ids(const std::string& name, const Shape& shape, int64_t below) {
    const ValueId id = graph.source(name, DType::i64, shape, true);
    HostTensor tensor({DType::i64, shape});
    Random random(hash_path(name));
    for (int64_t& number : tensor.as<int64_t>()) number = random.below(below);
    given.emplace(id, tensor);
    return id;
  }
  ValueId add(const char* op, const std::vector<ValueId>& inputs, const Attrs& attrs = {}) {
    return graph.add(op, inputs, attrs, "model").front();
  }
};

// Dims 4, 6, 8 and 5: some can be split evenly, some cannot.
Program transformer_block() {
  Program p;
  const ValueId tokens = p.ids("tokens", {4, 5}, 9);
  const ValueId labels = p.ids("labels", {4, 5}, 9);
  std::vector<ValueId> parameters;
  const auto parameter = [&](const char* name, const Shape& shape) {
    parameters.push_back(p.variable(name, shape));
    return parameters.back();
  };
  const ValueId table = parameter("table", {9, 8});
  ValueId x = p.add("embedding", {tokens, table});
  const ValueId normed = p.add("layer_norm", {x, parameter("scale", {8}), parameter("shift", {8})}, {{"eps", 1e-5}});
  const auto heads = [&](const char* weight) {
    const ValueId y =
        p.add("linear", {normed, parameter(weight, {8, 8}), parameter((std::string(weight) + "b").c_str(), {8})});
    return p.add("reshape", {y}, {{"shape", std::vector<int64_t>{4, 5, 4, 2}}});
  };
  const ValueId attended = p.add("attention", {heads("q"), heads("k"), heads("v")},
                                 {{"causal", int64_t{1}}, {"scale", 0.7}, {"seq_dim", int64_t{1}}});
  const ValueId joined = p.add("reshape", {attended}, {{"shape", std::vector<int64_t>{4, 5, 8}}});
  x = p.add("add", {x, p.add("dropout", {p.add("linear", {joined, parameter("out", {8, 8})})}, {{"p", 0.2}})});
  const ValueId up = p.add("gelu", {p.add("linear", {x, parameter("up", {6, 8}), parameter("upb", {6})})});
  x = p.add("add", {x, p.add("linear", {up, parameter("down", {8, 6})})});
  const ValueId logits = p.add("matmul", {x, table}, {{"trans_b", int64_t{1}}});
  const ValueId losses = p.add("cross_entropy", {logits, labels}, {{"ignore_index", int64_t{3}}});
  const ValueId sum = p.add("reduce_sum", {losses}, {{"dims", std::vector<int64_t>{0, 1}}});
  const ValueId weight = p.add("count_labels", {labels}, {{"ignore_index", int64_t{3}}, {"dtype", std::string("f64")}});
  const ValueId loss = p.add("weighted_mean", {sum, weight});
  p.results = p.graph.gradients(loss, parameters);
  p.results.push_back(loss);
  return p;
}

// The forward and backward graph of one use of an op.
Program with_gradient(const UseCase& use) {
  Program p;
  std::vector<ValueId> inputs, wrt;
  for (const HostTensor& tensor : use.inputs()) {
    inputs.push_back(
        p.graph.source("x" + std::to_string(inputs.size()), tensor.type().dtype, tensor.type().shape, false));
    p.given.emplace(inputs.back(), tensor);
    if (tensor.type().dtype == DType::f64) wrt.push_back(inputs.back());
  }
  const ValueId y = p.graph.add(use.op, inputs, use.attrs, "model")[static_cast<size_t>(use.differentiable[0])];
  std::vector<int64_t> dims;
  for (int d = 0; d < p.graph.value(y).type.shape.rank(); ++d) dims.push_back(d);
  const ValueId loss = p.add("reduce_sum", {p.add("square", {y})}, {{"dims", dims}});
  for (ValueId gradient : p.graph.gradients(loss, wrt)) {
    if (gradient.valid()) p.results.push_back(gradient);
  }
  return p;
}

class MeshInterpreter {
 public:
  MeshInterpreter(const Program& program, const Mesh& mesh, uint64_t seed)
      : program_(program), mesh_(mesh), topology_(Topology::one_host(mesh.size())), random_(seed) {}

  std::vector<double> result(ValueId wanted) {
    if (values_.empty()) run();
    return gathered(values_.at(wanted));
  }

 private:
  void run() {
    for (const Node& node : program_.graph.nodes()) {
      if (program_.given.contains(node.outputs[0])) {
        give(node.outputs[0]);
      } else {
        run(node);
      }
    }
  }

  // What is given lies split along some dim or whole.
  void give(ValueId id) {
    const HostTensor& tensor = program_.given.at(id);
    std::vector<Sbp> sbp;
    for (int axis = 0; axis < mesh_.axis_count(); ++axis) {
      const int64_t choice = random_.below(tensor.type().shape.rank() + 1);
      sbp.push_back(choice == 0 ? B : S(static_cast<int>(choice - 1)));
    }
    values_.emplace(id, scattered(tensor.numbers(), tensor.type().shape, Layout(mesh_, sbp)));
  }

  void run(const Node& node) {
    const std::vector<TensorType> types = input_types(program_.graph, node);
    const auto choices = combinations_of(*node.op, {types, node.attrs}, mesh_);
    const auto& chosen = choices[static_cast<size_t>(random_.below(static_cast<int64_t>(choices.size())))];
    const std::vector<Layout> wanted = layouts_of(mesh_, chosen, false);
    std::vector<Shards> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Executed boxed = executed(values_.at(node.inputs[i]), wanted[i], topology_);
      EXPECT_EQ(boxed.wrong, "") << node.text;
      inputs.push_back(boxed.shards);
    }
    MeshOp op{*node.op, node.attrs, {}, {hash_path(node.path), {.seed = 3}}};
    for (ValueId output : node.outputs) op.outputs.push_back(program_.graph.value(output).type);
    std::vector<Shards> outputs = run_on_mesh(op, types, inputs, layouts_of(mesh_, chosen, true), mesh_);
    for (size_t i = 0; i < outputs.size(); ++i) values_.emplace(node.outputs[i], std::move(outputs[i]));
  }

  const Program& program_;
  const Mesh mesh_;
  const Topology topology_;
  Random random_;
  std::map<ValueId, Shards> values_;
};

// Layouts drawn by `trials` seeds on a mesh.
void check_program(const Program& program, const Mesh& mesh, int trials, const std::string& name) {
  const std::vector<HostTensor> whole = interpret(program.graph, program.given, program.results, {.seed = 3});
  for (int trial = 0; trial < trials; ++trial) {
    MeshInterpreter on_mesh(program, mesh, static_cast<uint64_t>(trial));
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(difference(on_mesh.result(program.results[i]), whole[i].numbers(), 1e-8), "")
          << name << ": " << program.graph.value(program.results[i]).name << " on " << mesh.str() << ", seed " << trial;
    }
  }
}

TEST(GraphLaws, GradientsOfEveryOpAreTheSameOnAnyMesh) {
  int programs = 0;
  for (const UseCase& use : use_cases()) {
    if (use.def().gradient == nullptr || use.differentiable.empty() || use.output_types()[0].dtype != DType::f64)
      continue;
    const Program program = with_gradient(use);
    if (program.results.empty()) continue;
    check_program(program, Mesh({{"dp", 3}}), 4, use.str());
    check_program(program, Mesh({{"dp", 2}, {"tp", 2}}), 4, use.str());
    ++programs;
  }
  EXPECT_GT(programs, 100);
}

TEST(GraphLaws, ATransformerBlockTrainsTheSameOnAnyMesh) {
  const Program block = transformer_block();
  check_program(block, Mesh({{"dp", 2}}), 10, "block");
  check_program(block, Mesh({{"dp", 3}}), 10, "block");
  check_program(block, Mesh({{"dp", 2}, {"tp", 2}}), 20, "block");
  check_program(block, Mesh({{"dp", 2}, {"tp", 3}}), 10, "block");
}

TEST(GraphLaws, TheDecompositionOfCrossEntropyIsTheOp) {
  Program p;
  const ValueId logits = p.variable("logits", {4, 5, 9});
  const ValueId labels = p.ids("labels", {4, 5}, 9);
  const std::vector<ValueId> op =
      p.graph.add("cross_entropy", {logits, labels}, {{"ignore_index", int64_t{3}}}, "model");
  const NodeId node = p.graph.value(op[0]).producer;
  GradientBuilder builder(p.graph, node, {}, {});
  p.results = find_op("cross_entropy")->decompose(builder);
  ASSERT_EQ(p.results.size(), op.size());
  const std::vector<HostTensor> right = interpret(p.graph, p.given, op);
  const std::vector<HostTensor> found = interpret(p.graph, p.given, p.results);
  for (size_t i = 0; i < op.size(); ++i) EXPECT_EQ(difference(found[i].numbers(), right[i].numbers(), 1e-12), "");
  check_program(p, Mesh({{"tp", 4}}), 20, "decomposition");
}

}  // namespace
}  // namespace troupe
