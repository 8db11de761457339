#include "planner/rewrite.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace troupe {

GraphRewrite::GraphRewrite(const Graph& graph)
    : graph_(graph), values_(graph.values().size()), nodes_(graph.nodes().size()) {}

Graph GraphRewrite::run() {
  for (size_t n = 0; n < graph_.nodes().size(); ++n) {
    const std::vector<ValueId> copied = add(n);
    nodes_[n] = result_.value(copied.front()).producer;
    const std::vector<ValueId> made = outputs(n, copied);
    CHECK(made.size() == copied.size(), graph_.nodes()[n].text, made.size());
    for (size_t o = 0; o < made.size(); ++o) values_[graph_.nodes()[n].outputs[o].index()] = made[o];
  }
  for (const Variable& variable : graph_.variables()) {
    if (variable.next.valid()) result_.assign(value(variable.value), kept(variable.next));
  }
  for (const OutputValue& output : graph_.outputs()) result_.output(output.name, kept(output.value));
  for (Pin pin : graph_.pins()) {
    std::vector<ValueId> pinned = also_pinned(pin.value);
    pinned.push_back(value(pin.value));
    for (ValueId copied : pinned) {
      pin.value = copied;
      result_.pin(pin);
    }
  }
  return std::move(result_);
}

std::vector<ValueId> GraphRewrite::add(size_t n) {
  const Node& node = graph_.nodes()[n];
  std::vector<ValueId> inputs;
  for (ValueId old : node.inputs) inputs.push_back(input(n, old));
  result_.set_role(node.role);
  result_.set_origin(this->node(node.origin));
  const ValueId first = node.outputs.front();
  const TensorType& type = graph_.value(first).type;
  if (node.op->name == "variable") return {result_.variable(node.path, type.dtype, type.shape, node.line)};
  if (node.op->name == "source") {
    const auto source = std::find_if(graph_.sources().begin(), graph_.sources().end(),
                                     [&](const SourceValue& candidate) { return candidate.value == first; });
    return {result_.source(node.path, type.dtype, type.shape, source->batched, node.line)};
  }
  return result_.add(node.op->name, inputs, node.attrs, scope_of(node), node.line);
}

GradientBuilder GraphRewrite::builder_of(const std::vector<ValueId>& copied) {
  const NodeId made = result_.value(copied.front()).producer;
  return GradientBuilder(result_, made, std::vector<ValueId>(copied.size()),
                         std::vector<bool>(result_.node(made).inputs.size(), false));
}

std::string scope_of(const Node& node) {
  std::string path = node.path;
  const size_t ordinal = path.rfind('#');
  if (ordinal != std::string::npos && path.find('.', ordinal) == std::string::npos) path.resize(ordinal);
  if (path == node.op->name) return "";
  CHECK(path.ends_with("." + node.op->name), node.path, node.op->name);
  return path.substr(0, path.size() - node.op->name.size() - 1);
}

}  // namespace troupe
