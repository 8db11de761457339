#include "ops/graph.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

// Nodes that stand for a tensor from outside the step. They have a definition of their own so that every node has one.
const OpDef& structural(const char* name) {
  const OpDef* op = find_op(name);
  CHECK(op != nullptr, name);
  return *op;
}

void check_operand_count(const OpDef& op, size_t given) {
  const size_t most = op.inputs.size();
  const bool any_number = most > 0 && op.inputs.back().ends_with("...");
  if (any_number ? given < most : given > most) {
    throw PlanError("takes " + std::to_string(most) + (any_number ? " or more" : "") + " operands, got " +
                    std::to_string(given));
  }
}

// "mean"; for an op with any number of outputs, whose last name is "y...": "y1".
std::string output_name(const OpDef& op, size_t output) {
  const std::string& name = op.outputs.at(std::min(output, op.outputs.size() - 1));
  return name.ends_with("...") ? name.substr(0, name.size() - 3) + std::to_string(output) : name;
}

}  // namespace

const char* name_of(Role role) {
  switch (role) {
    case Role::forward:
      return "forward";
    case Role::backward:
      return "backward";
    case Role::update:
      return "update";
  }
  return "";
}

std::string Graph::unique_path(const std::string& scope, std::string_view op) {
  std::string path = scope.empty() ? std::string(op) : scope + "." + std::string(op);
  const int uses = ++path_uses_[path];
  if (uses > 1) path += "#" + std::to_string(uses);
  return path;
}

std::vector<ValueId> Graph::add(std::string_view name, const std::vector<ValueId>& inputs, const Attrs& attrs,
                                const std::string& scope, const SourceLine& line) {
  const OpDef* op = find_op(name);
  if (op == nullptr) throw PlanError(std::string(name), scope, "there is no op of this name", line);
  std::vector<TensorType> types;
  for (ValueId input : inputs) {
    CHECK(input.valid() && input.index() < values_.size(), name, input);
    types.push_back(value(input).type);
  }
  std::vector<TensorType> outputs;
  try {
    check_operand_count(*op, inputs.size());
    outputs = op->infer({types, attrs});
  } catch (const PlanError& error) {
    throw PlanError(op->name, scope, error.what(), line);
  }
  return append(*op, inputs, attrs, unique_path(scope, name), line, std::move(outputs));
}

std::vector<ValueId> Graph::append(const OpDef& op, const std::vector<ValueId>& inputs, const Attrs& attrs,
                                   const std::string& path, const SourceLine& line, std::vector<TensorType> types) {
  const NodeId id(static_cast<int64_t>(nodes_.size()));
  Node node{&op, inputs, {}, attrs, path, line, role_, origin_, op.name + " '" + path + "'"};
  for (size_t i = 0; i < types.size(); ++i) {
    const std::string name = i == 0 ? path : path + ":" + output_name(op, i);
    node.outputs.emplace_back(static_cast<int64_t>(values_.size()));
    values_.push_back({id, static_cast<int>(i), std::move(types[i]), name});
  }
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

ValueId Graph::variable(const std::string& name, DType dtype, const Shape& shape, const SourceLine& line) {
  for (const Variable& other : variables_) {
    if (other.name == name) throw PlanError("variable", name, "two variables have this name", line);
  }
  const ValueId value = append(structural("variable"), {}, {}, name, line, {{dtype, shape}}).front();
  variables_.push_back({name, value, {}});
  return value;
}

ValueId Graph::source(const std::string& name, DType dtype, const Shape& shape, bool batched, const SourceLine& line) {
  if (batched && shape.rank() == 0) {
    throw PlanError("source", name, "a batched source needs a dim 0, but this one is " + type_text(dtype, shape), line);
  }
  const ValueId value = append(structural("source"), {}, {}, name, line, {{dtype, shape}}).front();
  sources_.push_back({name, value, batched});
  return value;
}

void Graph::assign(ValueId target, ValueId next, const SourceLine& line) {
  for (Variable& variable : variables_) {
    if (variable.value != target) continue;
    const TensorType& old_type = value(target).type;
    const TensorType& new_type = value(next).type;
    if (!(old_type == new_type)) {
      throw PlanError("assign", variable.name,
                      "the variable is " + old_type.str() + ", but the new value is " + new_type.str(), line);
    }
    variable.next = next;
    return;
  }
  CHECK(false, "assign to a value that is no variable", target);
}

void Graph::output(const std::string& name, ValueId value) { outputs_.push_back({name, value}); }

void Graph::pin(Pin pin) { pins_.push_back(std::move(pin)); }

std::string Graph::str() const {
  return join(nodes_, "", [this](const Node& node) {
    const auto name = [this](ValueId id) { return value(id).name; };
    const auto typed = [this](ValueId id) { return value(id).name + ": " + value(id).type.str(); };
    std::string text =
        join(node.outputs, ", ", typed) + " = " + node.op->name + "(" + join(node.inputs, ", ", name) + ")";
    if (!node.attrs.empty()) text += " {" + node.attrs.str() + "}";
    return text + "\n";
  });
}

std::vector<TensorType> input_types(const Graph& graph, const Node& node) {
  std::vector<TensorType> types;
  for (ValueId input : node.inputs) types.push_back(graph.value(input).type);
  return types;
}

}  // namespace troupe
