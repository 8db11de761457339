#include "planner/decompose.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace troupe {
namespace {

// The scope from which the graph made this path: without the op and its ordinal.
std::string scope_of(const Node& node) {
  std::string path = node.path;
  const size_t ordinal = path.rfind('#');
  if (ordinal != std::string::npos && path.find('.', ordinal) == std::string::npos) path.resize(ordinal);
  if (path == node.op->name) return "";
  CHECK(path.ends_with("." + node.op->name), node.path, node.op->name);
  return path.substr(0, path.size() - node.op->name.size() - 1);
}

class Rewrite {
 public:
  Rewrite(const Graph& graph, const std::vector<const OpDef*>& ops)
      : graph_(graph), ops_(ops), values_(graph.values().size()), nodes_(graph.nodes().size()) {}

  Graph run() {
    for (size_t n = 0; n < graph_.nodes().size(); ++n) copy(n);
    for (const Variable& variable : graph_.variables()) {
      if (variable.next.valid()) result_.assign(value(variable.value), value(variable.next));
    }
    for (const OutputValue& output : graph_.outputs()) result_.output(output.name, value(output.value));
    for (Pin pin : graph_.pins()) {
      pin.value = value(pin.value);
      result_.pin(pin);
    }
    return std::move(result_);
  }

 private:
  ValueId value(ValueId old) const { return values_[old.index()]; }

  void copy(size_t n) {
    const Node& node = graph_.nodes()[n];
    result_.set_role(node.role);
    result_.set_origin(node.origin.valid() ? nodes_[node.origin.index()] : NodeId());
    const std::vector<ValueId> outputs = add(node);
    nodes_[n] = result_.value(outputs.front()).producer;
    std::vector<ValueId> made = outputs;
    if (std::find(ops_.begin(), ops_.end(), node.op) != ops_.end()) {
      // What nobody reads any more is dropped by `pieces`.
      GradientBuilder builder(result_, nodes_[n], std::vector<ValueId>(outputs.size()),
                              std::vector<bool>(node.inputs.size(), false));
      made = node.op->decompose(builder);
      CHECK(made.size() == outputs.size(), node.text, made.size());
    }
    for (size_t o = 0; o < outputs.size(); ++o) values_[node.outputs[o].index()] = made[o];
  }

  std::vector<ValueId> add(const Node& node) {
    const ValueId first = node.outputs.front();
    const TensorType& type = graph_.value(first).type;
    if (node.op->name == "variable") return {result_.variable(node.path, type.dtype, type.shape, node.line)};
    if (node.op->name == "source") {
      const auto source = std::find_if(graph_.sources().begin(), graph_.sources().end(),
                                       [&](const SourceValue& candidate) { return candidate.value == first; });
      return {result_.source(node.path, type.dtype, type.shape, source->batched, node.line)};
    }
    std::vector<ValueId> inputs;
    for (ValueId input : node.inputs) inputs.push_back(value(input));
    return result_.add(node.op->name, inputs, node.attrs, scope_of(node), node.line);
  }

  const Graph& graph_;
  const std::vector<const OpDef*>& ops_;
  std::vector<ValueId> values_;  // by value of the old graph
  std::vector<NodeId> nodes_;    // by node of the old graph
  Graph result_;
};

}  // namespace

std::vector<const OpDef*> decomposable_ops(const Graph& graph) {
  std::vector<const OpDef*> ops;
  for (const Node& node : graph.nodes()) {
    if (node.op->decompose != nullptr && std::find(ops.begin(), ops.end(), node.op) == ops.end())
      ops.push_back(node.op);
  }
  return ops;
}

Graph decompose(const Graph& graph, const std::vector<const OpDef*>& ops) { return Rewrite(graph, ops).run(); }

}  // namespace troupe
