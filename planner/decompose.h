// The rewrite `decompose`: an op in the form that lets boxing stand inside it.
#pragma once

#include <vector>

#include "ops/graph.h"

namespace troupe {

// The ops of the graph that have a decomposition, each once, in the order of their first use. An op and those of its
// backward pass stand together: what one makes in parts the others can use in parts.
std::vector<std::vector<const OpDef*>> decomposable_ops(const Graph& graph);

// The same graph with every node of these ops replaced by its decomposition; backward nodes read what the decomposition
// makes. All other nodes keep their paths.
Graph decompose(const Graph& graph, const std::vector<const OpDef*>& ops);

}  // namespace troupe
