// The stage `pieces`: how often each node fires, and what stands between nodes of different rates.
#pragma once

#include "ops/graph.h"
#include "planner/program.h"

namespace troupe {

// Sources bring a piece at a time, and so does everything of the forward and backward pass that depends on them; update
// nodes fire once per step. Where an update reads a value of the piece rate, an `accumulate` sums the pieces of the
// step; a gradient that sums the uses of a shared variable is accumulated per use first. A node that neither a
// variable's next version nor an output needs is dropped. Throws PlanError for a variable whose next version is
// computed per piece. `chunks`: by node, where it was placed (none: all in chunk 0).
Program pieces(const Graph& graph, const std::vector<int>& chunks = {});

}  // namespace troupe
