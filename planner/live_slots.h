// Slots without which a pipeline would hang.
#pragma once

#include "planner/certify.h"
#include "planner/task_graph.h"

namespace troupe {

// A stage that waits for a free slot waits for another stage's reader, and that may wait, through the order of turns and
// other slots, for the stage itself: for instance where a later stage's backward pass reads what the forward pass of an
// earlier one made. While a cycle of `plan` (emitted from `graph`) holds no token for such reasons, the smallest of
// the registers that it waits for gets one slot more, in the graph. A register with a slot for each piece of a step is in
// no such cycle, so this ends. Returns whether any got one: then `unrolled`, of the plan, is of the plan that was.
bool add_live_slots(TaskGraph& graph, const Choices& choices, const Plan& plan, const Unrolled& unrolled);

}  // namespace troupe
