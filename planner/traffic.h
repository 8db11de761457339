// What a plan's devices receive from one another in a step.
#pragma once

#include <array>
#include <map>
#include <span>
#include <vector>

#include "planner/task_graph.h"

namespace troupe {

struct Traffic {
  // Collectives per step by kind and axis. Those of the step rate (gradients, parameters) merge into one per kind, axis
  // and role (those made per pass over a piece: with each pass), activations never do; scalars are not counted, but
  // their bytes are. Bytes and messages are those of the tasks that execute them, over all devices: an all-reduce of a
  // small tensor, in one hop, moves more than a ring would, and a device with several nodes of the tree over the batch
  // shards sends each of them.
  std::vector<PlanTraffic> rows;
  std::array<int64_t, kLinkKinds> link_bytes{};
};

// With Choices::one_per_class, of one device of each class times their number.
Traffic traffic_of(const TaskGraph& graph, const Program& program, const Choices& choices);

// Bytes that one firing of a task reads from other devices, by device.
std::map<DeviceId, int64_t> received_per_firing(const Plan& plan, TaskId task);

// What the tasks of a plan have read from other devices once they have fired so often (by TaskId), in bytes.
int64_t received_bytes(const Plan& plan, std::span<const int64_t> firings);

}  // namespace troupe
