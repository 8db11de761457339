// What a plan costs, in numbers and in words.
#pragma once

#include <vector>

#include "planner/certify.h"
#include "planner/compile.h"
#include "planner/memory.h"
#include "planner/task_graph.h"

namespace troupe {

// Collectives per step by kind and axis, with bytes and messages. Those of the step rate (gradients, parameters) merge
// into one per kind, axis and role (those made per pass over a piece: with each pass), activations never do; scalars are not counted, but their bytes are.
std::vector<PlanTraffic> traffic_of(const Program& program, const Choices& choices);

Summary summarize(const Plan& plan, const Certificate& certificate, const TaskGraph& graph, const Program& program,
                  const MemoryPlan& memory, const Choices& choices);

}  // namespace troupe
