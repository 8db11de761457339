// The stage `emit`: classes unrolled into the tasks, registers and streams of every device.
#pragma once

#include "planner/memory.h"
#include "planner/task_graph.h"
#include "runtime/plan/plan.h"

namespace troupe {

Plan emit(const TaskGraph& graph, const Program& program, const MemoryPlan& memory, const Choices& choices);

}  // namespace troupe
