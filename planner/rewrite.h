// What rewrites of a graph have in common: a copy of it, node by node, in which single things differ.
#pragma once

#include <string>
#include <vector>

#include "ops/graph.h"

namespace troupe {

// Nodes that are copied keep their paths.
class GraphRewrite {
 public:
  explicit GraphRewrite(const Graph& graph);
  virtual ~GraphRewrite() = default;
  Graph run();

 protected:
  // What node `n` of the old graph reads for one of its inputs.
  virtual ValueId input(size_t /*n*/, ValueId old) { return value(old); }
  // What readers of node `n` get for its outputs, given their copies.
  virtual std::vector<ValueId> outputs(size_t /*n*/, std::vector<ValueId> copied) { return copied; }
  // What a variable's next version or an output is in the new graph.
  virtual ValueId kept(ValueId old) { return value(old); }
  // Other values of the new graph that a pin on an old value holds for.
  virtual std::vector<ValueId> also_pinned(ValueId /*old*/) const { return {}; }

  const Graph& old_graph() const { return graph_; }
  Graph& result() { return result_; }
  // For functions of an OpDef that build a node anew from what its copy reads.
  GradientBuilder builder_of(const std::vector<ValueId>& copied);
  // What became of a value and of a node of the old graph.
  ValueId value(ValueId old) const { return values_[old.index()]; }
  NodeId node(NodeId old) const { return old.valid() ? nodes_[old.index()] : NodeId(); }

 private:
  std::vector<ValueId> add(size_t n);

  const Graph& graph_;
  std::vector<ValueId> values_;  // by value of the old graph
  std::vector<NodeId> nodes_;    // by node of the old graph
  Graph result_;
};

// The scope from which a graph made a node's path: without the op and its ordinal.
std::string scope_of(const Node& node);

}  // namespace troupe
