// The rewrite `in_precision`: a step that computes on bf16 or f16 and keeps its variables and sums in float32.
#pragma once

#include "ops/graph.h"

namespace troupe {

// The same graph, where ops take the low dtype as their definitions say (OpDef::precision), with a cast wherever a
// reader wants another dtype than there is: one per value, shared by all its readers. Variables, what updates read and
// outputs stay float32. All nodes but casts keep their paths. Only float32 is touched.
//
// It takes the graph of a whole step, after `gradients`: so a gradient is made by the op that suits it best (a weight's
// comes in float32 straight from the product of two low ones), and no gradient function knows of precisions.
Graph in_precision(const Graph& graph, DType low);

}  // namespace troupe
