// The stage `emit`: classes unrolled into the tasks, registers and streams of every device.
#pragma once

#include "planner/memory.h"
#include "planner/task_graph.h"
#include "runtime/plan/plan.h"

namespace troupe {

// A task or register of the graph on one device.
struct Instance {
  int index = 0;  // into TaskGraph::tasks or TaskGraph::registers
  int position = 0;
};
// Those that a plan has, in the order of its tasks.
std::vector<Instance> task_instances(const TaskGraph& graph, const Choices& choices);
// In the order of its registers, without the control edges, which follow them.
std::vector<Instance> register_instances(const TaskGraph& graph, const Choices& choices);

Plan emit(const TaskGraph& graph, const Program& program, const MemoryPlan& memory, const Choices& choices);

}  // namespace troupe
