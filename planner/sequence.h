// The rewrite `split_sequence`: context parallelism, in which an axis of the mesh splits the sequence.
#pragma once

#include "ops/graph.h"
#include "planner/choices.h"

namespace troupe {

// The same graph with every op that couples positions built for `choices.sequence_axis`, and its outputs pinned to how
// that form makes them; the planner decides the rest. Without such an axis, the graph as it is.
Graph split_sequence(const Graph& graph, const Choices& choices);

}  // namespace troupe
