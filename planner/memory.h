// The stage `memory`: where every register lies, before anything runs.
#pragma once

#include <vector>

#include "planner/packing.h"
#include "planner/task_graph.h"

namespace troupe {

// When each register's bytes are in use, as indices of tasks in the order of a step, and the buffer it shares with the
// registers that take over its memory in place.
struct MemoryPlan {
  std::vector<Lifetime> lifetimes;  // by register; bytes unset
  std::vector<int> buffer_of;       // by register; -1: not in the workspace
};

// Sets the offsets of registers and scratch and the sizes of the arenas. Throws PlanError when a device's memory is too
// small, with the peak and the tensors that make it.
MemoryPlan plan_memory(TaskGraph& graph, const Program& program, const Choices& choices);

// The largest tensors of class `c` that live when its workspace is fullest, and its variables: "name f32[4,8] 128 B".
std::vector<std::string> peak_tensors(const TaskGraph& graph, const Program& program, const MemoryPlan& memory, int c);

}  // namespace troupe
