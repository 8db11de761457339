// The stage `shard`: from nodes on logical tensors to tasks on devices, in the order in which streams run them.
#pragma once

#include "planner/task_graph.h"
#include "runtime/base/profile.h"

namespace troupe {

TaskGraph shard(const Program& program, const Choices& choices, const Profile& profile);

}  // namespace troupe
