// What one device pulls in one boxing task: the regions of its part, and the devices whose registers they come from.
#pragma once

#include <vector>

#include "ops/pull.h"
#include "planner/task_graph.h"

namespace troupe {

struct DevicePull {
  std::vector<int> sources;  // positions, in the order of the kernel's inputs
  std::vector<PullRegion> regions;
  bool flat = false;
  bool filled = false;  // some of the output is covered by no region
  Reduction reduction = Reduction::sum;
};

DevicePull device_pull(const TaskGraph& graph, const Program& program, const Choices& choices, const ClassTask& task,
                       int position);

}  // namespace troupe
