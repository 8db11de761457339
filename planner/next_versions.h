// In which order a step's nodes run, given that variables are overwritten.
#pragma once

#include <vector>

#include "ops/graph.h"

namespace troupe {

// Whoever reads a variable sees the version with which the step began. So a node that writes the next version over the
// old one runs after all readers; where it cannot (the new version is read within the step, or a reader waits for the
// node), it writes aside and an `assign` copies at the end.
class NextVersions {
 public:
  struct Item {
    enum Kind : uint8_t {
      node,    // of the graph
      fetch,   // of an output
      hold,    // a copy of another variable's old version, which this variable takes over
      assign,  // of a variable
    };
    Kind kind = node;
    size_t index = 0;  // of the node, output or variable
    bool operator==(const Item&) const = default;
  };

  // `needed`: the nodes that take part.
  NextVersions(const Graph& graph, const std::vector<bool>& needed);

  // Whether the node that computes the variable's next version overwrites it.
  bool in_place(size_t variable) const { return in_place_[variable]; }
  // Nodes in the order of the graph, then outputs, then assignments, but for updates that wait for readers.
  const std::vector<Item>& order() const { return order_; }

 private:
  void find_in_place(const Graph& graph, const std::vector<bool>& needed);
  bool find_order(const Graph& graph, const std::vector<bool>& needed);

  std::vector<bool> in_place_;
  std::vector<Item> order_;
};

}  // namespace troupe
