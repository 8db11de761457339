// The program between the logical graph and the tasks: the same nodes, each with a rate, then with a layout, then with
// boxing between them. One value type for the stages pieces, deduce and box; each stage returns a new value.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "planner/choices.h"
#include "sbp/boxing.h"
#include "sbp/layout.h"

namespace troupe {

// How often a node fires: for every piece, or once per step.
enum class Rate : uint8_t { piece, step };
const char* name_of(Rate rate);

enum class NodeKind : uint8_t {
  compute,
  variable,    // no task: the register that outlives the step
  source,      // a source task
  accumulate,  // sums the pieces of a step
  boxing,      // one step from one layout to another
  fetch,       // copies a value to where the driver reads it
};

struct ProgramNode {
  NodeKind kind = NodeKind::compute;
  const OpDef* op = nullptr;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attrs attrs;
  std::string path;
  SourceLine line;
  Role role = Role::forward;
  Rate rate = Rate::step;
  int chunk = 0;         // of the pipeline
  bool on_host = false;  // runs beside its stage's devices
  std::optional<BoxingStep> boxing;
  std::string text() const { return op->name + " '" + path + "'"; }
};

struct ProgramValue {
  std::string name;
  TensorType type;
  NodeId producer;
  Rate rate = Rate::step;
  std::optional<Layout> layout;  // from deduce on
  bool of_all_pieces = false;    // one value for all pieces, though made with each: a variable gathered per pass
};

struct ProgramVariable {
  std::string name;
  ValueId value;
  NodeId update;  // the node that writes its next version; invalid: nobody does
  int update_output = 0;
  bool trained = false;  // read by the forward pass
};

// Nodes stand in an order in which every value comes before its readers; that order is the one that streams follow.
struct Program {
  std::vector<ProgramNode> nodes;
  std::vector<ProgramValue> values;
  std::vector<ProgramVariable> variables;
  std::vector<Pin> pins;
  std::vector<SourceValue> sources;
  std::vector<std::pair<std::string, ValueId>> outputs;  // the fetched copy of each

  ProgramNode& node(NodeId id) { return nodes.at(id.index()); }
  const ProgramNode& node(NodeId id) const { return nodes.at(id.index()); }
  ProgramValue& value(ValueId id) { return values.at(id.index()); }
  const ProgramValue& value(ValueId id) const { return values.at(id.index()); }
  ValueId add_value(ProgramValue value);
  // Appends a node and sets the producer of its outputs.
  NodeId add_node(ProgramNode node);
  // A node of another program with the same values, whose outputs keep their rates.
  NodeId copy_node(ProgramNode node);
  std::vector<TensorType> input_types(const ProgramNode& node) const;
  // Along data axes nothing is exchanged between the pieces of a step: sums over samples are made by accumulators
  // alone, in an order that does not depend on the number of devices. What is whole there is each piece's own, and so a
  // part of their sum as it is.
  bool keeps_pieces_apart(const Choices& choices) const;
  // A line per node: rate, values with type and layout, op, boxing.
  std::string str() const;
};

}  // namespace troupe
