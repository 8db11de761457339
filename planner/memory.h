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

// Sets the offsets of registers and scratch and the sizes of the arenas.
MemoryPlan plan_memory(TaskGraph& graph, const Program& program, const Choices& choices);

// The device, or the host beside one, that needs most: its position (in the last stage that it is of), and the bytes of
// all its arenas.
struct MemoryNeed {
  int position = 0;
  int64_t bytes = 0;
};
MemoryNeed memory_need(const TaskGraph& graph, const Choices& choices, bool of_hosts);

bool fits_memory(const TaskGraph& graph, const Choices& choices);
// Throws PlanError with the need, the memory that would do, and the tensors that live at the peak.
[[noreturn]] void refuse_memory(const TaskGraph& graph, const Program& program, const Choices& choices,
                                const MemoryPlan& memory);

// The largest tensors of class `c` that live when its workspace is fullest, and its variables: "name f32[4,8] 128 B".
std::vector<std::string> peak_tensors(const TaskGraph& graph, const Program& program, const MemoryPlan& memory, int c);

}  // namespace troupe
