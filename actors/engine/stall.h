// Why nothing moves: who waits for whom, and who should have fired.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actors/engine/loaded_plan.h"

namespace troupe {

struct Stall {
  std::string text;           // lines, the culprit first
  std::vector<TaskId> chain;  // from a task that waits to the one that should have gone on, or around a cycle
  bool cycle = false;
  bool elsewhere = false;  // the chain ends at a task of another process, where it goes on
};

// `busy[e]`, of the e-th own executor: the task whose kernel runs there, where the executor does not stop; then nothing
// is known of its other tasks. All other executors stand still while this looks.
Stall describe_stall(const LoadedPlan& plan, const std::vector<std::optional<TaskId>>& busy, double seconds);

}  // namespace troupe
