// What a plan costs, in numbers and in words.
#pragma once

#include "planner/certify.h"
#include "planner/compile.h"
#include "planner/memory.h"
#include "planner/task_graph.h"

namespace troupe {

Summary summarize(const Plan& plan, const Certificate& certificate, const TaskGraph& graph, const Program& program,
                  const MemoryPlan& memory, const std::array<int64_t, kLinkKinds>& link_bytes, const Choices& choices);

}  // namespace troupe
