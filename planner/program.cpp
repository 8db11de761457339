#include "planner/program.h"

#include <algorithm>

#include "runtime/base/text.h"

namespace troupe {

const char* name_of(Rate rate) { return rate == Rate::piece ? "piece" : "step"; }

ValueId Program::add_value(ProgramValue value) {
  values.push_back(std::move(value));
  return ValueId(static_cast<int64_t>(values.size()) - 1);
}

NodeId Program::add_node(ProgramNode node) {
  const NodeId id(static_cast<int64_t>(nodes.size()));
  for (ValueId output : node.outputs) {
    value(output).producer = id;
    value(output).rate = node.rate;
  }
  nodes.push_back(std::move(node));
  return id;
}

NodeId Program::copy_node(ProgramNode node) {
  std::vector<Rate> rates;
  for (ValueId output : node.outputs) rates.push_back(value(output).rate);
  const std::vector<ValueId> outputs = node.outputs;
  const NodeId id = add_node(std::move(node));
  for (size_t o = 0; o < outputs.size(); ++o) value(outputs[o]).rate = rates[o];
  return id;
}

std::vector<TensorType> Program::input_types(const ProgramNode& node) const {
  std::vector<TensorType> types;
  for (ValueId input : node.inputs) types.push_back(value(input).type);
  return types;
}

bool Program::keeps_pieces_apart(const Choices& choices) const {
  const auto accumulates = [](const ProgramNode& node) { return node.kind == NodeKind::accumulate; };
  return choices.rounds() > 1 || std::any_of(nodes.begin(), nodes.end(), accumulates);
}

std::string Program::str() const {
  return join(nodes, "", [this](const ProgramNode& node) {
    const auto name = [this](ValueId id) { return value(id).name; };
    const auto typed = [this](ValueId id) {
      const ProgramValue& v = value(id);
      return v.name + ": " + v.type.str() + (v.layout ? " " + v.layout->str() : "");
    };
    std::string text = std::string(name_of(node.rate)) + " " + join(node.outputs, ", ", typed) + " = ";
    text += node.boxing ? node.boxing->str() : node.op->name;
    text += "(" + join(node.inputs, ", ", name) + ")";
    if (!node.attrs.empty()) text += " {" + node.attrs.str() + "}";
    return text + "\n";
  });
}

}  // namespace troupe
