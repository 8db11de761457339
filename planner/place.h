// The stage `place`: which chunk of the pipeline every node belongs to.
#pragma once

#include <vector>

#include "ops/graph.h"
#include "planner/pipeline.h"

namespace troupe {

// By node: its chunk. A node whose path the choices name lies there; what stands outside the named modules lies where
// the last of its inputs does, or, where nothing comes in, where it is first read. A backward node lies with the
// forward node it differentiates, an update with the variable it writes. Throws PlanError for a forward node that reads
// what a later chunk makes.
std::vector<int> place(const Graph& graph, const Pipeline& pipeline);

}  // namespace troupe
