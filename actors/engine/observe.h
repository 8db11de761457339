// What can be recorded about firings, and how it reads. Off by default, so that it costs nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/id.h"

namespace troupe {

struct Observe {
  bool counts = false;      // firings and messages
  bool times = false;       // busy time per task
  bool live_bytes = false;  // high-water mark of live slots per device
  bool finite = false;      // scan every float output for values that are not finite
  int64_t trace_from = 0;   // keep the firings of so many steps from this one on, one by one
  int64_t trace_steps = 0;

  bool any() const { return counts || times || live_bytes || finite || trace_steps > 0; }
};

struct TaskObservation {
  int64_t firings = 0;  // with a kernel; empty ones not counted
  double busy_s = 0;
};

// What a stream's head lacked last before it could fire.
enum class WaitsFor : uint8_t {
  nothing,
  input,   // a version of a register
  slot,    // room in a register that it writes, or the turn that a control edge gives
  source,  // data
  step,    // the driver's word that the next step may begin
};
constexpr double kShortestWait = 10e-6;  // seconds; shorter ones are not kept

struct TracedFiring {
  TaskId task;
  int64_t step = 0;
  int32_t round = 0;
  double begin_s = 0;  // by the driver's clock
  double end_s = 0;
  WaitsFor waited_for = WaitsFor::nothing;
  RegisterId waited_reg;  // of an input or a slot
  double wait_begin_s = 0;
  double wait_end_s = 0;  // then its executor may have been busy with another stream
  // With `live_bytes`, of what Observations::peak_workspace is the peak of: the most on the task's device since the
  // firing before, and what is left after this one.
  int64_t live_most = 0;
  int64_t live_after = 0;
};

// The first value that was not finite. "First" is where it was born: a task whose inputs were all finite comes before
// one that passed on what it got; then by step, round, place in the stream's sequence, name of the task.
struct NonFinite {
  bool born = false;
  int64_t step = 0;
  int32_t round = 0;
  int32_t shard = 0;
  int32_t piece = 0;
  int64_t position = 0;  // in the stream's sequence of one step
  TaskId task;
  RegisterId reg;       // the output
  int64_t element = 0;  // of this device's part
  double value = 0;
  RegisterId input;  // when passed on: the input it came from
};

struct Observations {
  std::vector<TaskObservation> tasks;   // by TaskId
  int64_t messages = 0;                 // ready and freed, all together
  int64_t crossing = 0;                 // those between executors
  std::vector<int64_t> peak_bytes;      // per device: slots in the workspace and io arenas that were live together
  std::vector<int64_t> peak_workspace;  // per device: slots there, and scratch: what PlanPromise::peak foretells
  std::vector<TracedFiring> trace;      // by begin
  std::optional<NonFinite> nonfinite;

  std::vector<int64_t> firings() const {  // by TaskId
    std::vector<int64_t> counts;
    for (const TaskObservation& task : tasks) counts.push_back(task.firings);
    return counts;
  }
};

}  // namespace troupe
