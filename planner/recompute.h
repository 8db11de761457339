// The rewrite `recompute`: what a module's forward pass made is not kept for its backward pass but made once more.
#pragma once

#include <string>
#include <vector>

#include "ops/graph.h"

namespace troupe {

// Whether a node or module stands below a module: "blocks.1" has "blocks.1.mlp" below it, and not "blocks.10".
bool is_below(const std::string& path, const std::string& module);

// `modules`: paths; what stands below them is made again from what enters the module (Chen et al. 2016, "Training deep
// nets with sublinear memory cost"). Nodes of the backward pass that differentiate a node of a module read the second
// making, which belongs to the backward pass; what leaves the module is kept anyway and stays as it is. Random ops draw
// the same numbers again. Throws PlanError for a path below which the graph has no node.
Graph recompute(const Graph& graph, const std::vector<std::string>& modules);

}  // namespace troupe
