// The logical program: ops on logical tensors, written once as if for one device.
//
// A training graph's values belong to a *round*: one piece per data-parallel device (DESIGN: "round"). A source's dim 0
// is the batch dim and holds the round's pieces.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ops/op.h"
#include "runtime/base/error.h"
#include "runtime/base/id.h"
#include "sbp/sbp.h"

namespace troupe {

enum class Role : uint8_t { forward, backward, update };
const char* name_of(Role role);

struct Value {
  NodeId producer;
  int output = 0;  // which output of the producer
  TensorType type;
  std::string name;  // "blocks.0.mlp.up.linear" or, for several outputs, "...layer_norm:mean"
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attrs attrs;
  std::string path;  // unique and stable: scope, op, and an ordinal where a scope uses an op twice
  SourceLine line;
  Role role = Role::forward;
  NodeId origin;     // the forward node that a backward node differentiates
  std::string text;  // what the node is called in errors: "matmul 'block3.up'"
};

// A tensor that outlives a step. `value` is the version a step starts with, `next` the one it ends with (invalid: the
// graph never changes it).
struct Variable {
  std::string name;
  ValueId value;
  ValueId next;
};

// Where data enters, a piece at a time.
struct SourceValue {
  std::string name;
  ValueId value;
  bool batched = true;  // dim 0 is the batch dim
};

struct OutputValue {
  std::string name;
  ValueId value;
};

// What the user demands of a value's layout along one axis.
struct Pin {
  ValueId value;
  std::string axis;
  Sbp sbp;
  SourceLine line;
  std::string pattern;  // the pattern of `layouts={...}` or the recipe it came from; empty for tr.pin
  bool made = false;    // the op that makes the value must make it so; boxing to it will not do
};

// Append-only; ids are indices. Not thread-safe. Every function throws PlanError (with op, path, line) on a mistake.
class Graph {
 public:
  // Adds a node; `scope` is the module's path. Returns its outputs.
  std::vector<ValueId> add(std::string_view op, const std::vector<ValueId>& inputs, const Attrs& attrs = {},
                           const std::string& scope = "", const SourceLine& line = {});
  // A variable, a source: nodes without inputs.
  ValueId variable(const std::string& name, DType dtype, const Shape& shape, const SourceLine& line = {});
  ValueId source(const std::string& name, DType dtype, const Shape& shape, bool batched, const SourceLine& line = {});
  // At the end of a step the variable takes this value; same type required.
  void assign(ValueId variable, ValueId next, const SourceLine& line = {});
  // The driver fetches this value after the step.
  void output(const std::string& name, ValueId value);
  void pin(Pin pin);

  // The role of the nodes added from here on.
  void set_role(Role role) { role_ = role; }
  // The forward node that the nodes added from here on differentiate; an invalid id ends it.
  void set_origin(NodeId origin) { origin_ = origin; }

  // Gradients of a scalar, times `seed` where there is one, with respect to `wrt`: appends backward nodes. A value that
  // the scalar does not depend on gets an invalid id. Contributions of several uses are added in graph order by one
  // `add_n`.
  std::vector<ValueId> gradients(ValueId scalar, const std::vector<ValueId>& wrt, ValueId seed = {});

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Value>& values() const { return values_; }
  const Node& node(NodeId id) const { return nodes_.at(id.index()); }
  const Value& value(ValueId id) const { return values_.at(id.index()); }
  const std::vector<Variable>& variables() const { return variables_; }
  const std::vector<SourceValue>& sources() const { return sources_; }
  const std::vector<OutputValue>& outputs() const { return outputs_; }
  const std::vector<Pin>& pins() const { return pins_; }

  // A line per node: "y: f32[8,16] = matmul(a, w) {trans_b=1}".
  std::string str() const;

 private:
  std::vector<ValueId> append(const OpDef& op, const std::vector<ValueId>& inputs, const Attrs& attrs,
                              const std::string& path, const SourceLine& line, std::vector<TensorType> types);
  std::string unique_path(const std::string& scope, std::string_view op);

  std::vector<Node> nodes_;
  std::vector<Value> values_;
  std::vector<Variable> variables_;
  std::vector<SourceValue> sources_;
  std::vector<OutputValue> outputs_;
  std::vector<Pin> pins_;
  std::map<std::string, int> path_uses_;
  Role role_ = Role::forward;
  NodeId origin_;
};

// The types of a node's inputs, for the functions of an OpDef.
std::vector<TensorType> input_types(const Graph& graph, const Node& node);

// What an op's gradient function works with: the use of the op, the gradients of its outputs, and a way to add nodes.
class GradientBuilder {
 public:
  GradientBuilder(Graph& graph, NodeId node, std::vector<ValueId> output_gradients, std::vector<bool> needed)
      : graph_(graph), node_(node), output_gradients_(std::move(output_gradients)), needed_(std::move(needed)) {}

  const Attrs& attrs() const { return graph_.node(node_).attrs; }
  int inputs() const { return static_cast<int>(graph_.node(node_).inputs.size()); }
  ValueId input(int i) const { return graph_.node(node_).inputs[static_cast<size_t>(i)]; }
  int outputs() const { return static_cast<int>(graph_.node(node_).outputs.size()); }
  ValueId output(int i) const { return graph_.node(node_).outputs[static_cast<size_t>(i)]; }
  // The gradient of an output; invalid when nothing depends on that output.
  ValueId gradient(int output = 0) const { return output_gradients_[static_cast<size_t>(output)]; }
  bool needed(int input) const { return needed_[static_cast<size_t>(input)]; }
  const TensorType& type(ValueId value) const { return graph_.value(value).type; }
  // The differentiated node's path: the key of its random numbers.
  const std::string& path() const { return graph_.node(node_).path; }
  // Adds a node of the backward pass; returns its first output (add_all: all of them).
  ValueId add(std::string_view op, const std::vector<ValueId>& inputs, const Attrs& attrs = {});
  std::vector<ValueId> add_all(std::string_view op, const std::vector<ValueId>& inputs, const Attrs& attrs = {});

 private:
  Graph& graph_;
  NodeId node_;
  std::vector<ValueId> output_gradients_;
  std::vector<bool> needed_;
};

// How an op is built when `parts` devices of an axis split the sequence.
struct SequenceSplit {
  int parts = 1;
  bool ring = false;  // keys and values travel from device to device, a part at a time; else they are gathered
  // Values and how the ops that make them must make them along the axis.
  std::vector<std::pair<ValueId, Sbp>> made = {};
  // By value: the same with its rows in paired order (see ops/sequence_parts.h), where an op of the graph has it already.
  std::map<ValueId, ValueId> paired = {};
};

}  // namespace troupe
