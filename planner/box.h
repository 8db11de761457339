// The stage `box`: every edge agrees.
#pragma once

#include "planner/deduce.h"
#include "planner/program.h"

namespace troupe {

// Gives every value its layout and puts a boxing node, one per step, wherever a reader needs another one. Readers that
// need the same layout share the steps. Sums of accumulators are reduced over the data axes first, in the order of the
// batch shards, and only then over other axes.
Program box(const Program& program, const Deduced& deduced, const Choices& choices);

}  // namespace troupe
