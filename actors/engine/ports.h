// The ports of a plan's tasks: which reads are one input of a task's credits, and who reads a register through which.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "runtime/plan/plan.h"

namespace troupe {

// A reader of a register: a task and the input port of its credits.
struct ReaderPort {
  TaskId task;
  int32_t port;
  int32_t every;
};

// Two reads of one register for equally many firings are one port. A register that a task overwrites is no port of it.
struct Ports {
  explicit Ports(const Plan& plan);
  // -1: none.
  int32_t port_of(TaskId task, const PlanRead& read) const;

  std::vector<std::vector<PlanRead>> inputs;     // by task
  std::vector<std::vector<ReaderPort>> readers;  // by register
};

// By (from, to): the most messages that can be under way from one executor to another. `executor_of[stream]` says where
// each stream runs.
using UnderWay = std::map<std::pair<int, int>, int64_t>;
UnderWay messages_under_way(const Plan& plan, const Ports& ports, const std::vector<int>& executor_of);

}  // namespace troupe
