// Where the streams of one process stand in a plan, and what those that wait lack: enough for whoever has it of all
// processes to find out who waits for whom (stall.h). As many entries as there are streams, however many tasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/base/id.h"

namespace troupe {

class LoadedPlan;

// What the head of a stream lacks: a version of a register that it reads, or room in one that it writes, which a version
// takes that `from` still holds.
struct Lack {
  TaskId from;  // who has to give it
  RegisterId reg;
  int64_t version = 0;
  bool room = false;
};

// Of a head that lacks more, the others are not told: where a plan can go on, what is amiss shows behind each of them.
constexpr size_t kMostLacks = 8;

struct Standing {
  enum class State : uint8_t {
    limit,   // has done all steps that the driver told it to
    source,  // its head has no data
    head,    // its head lacks something
    turn,    // its head lacks nothing, but its executor does not run it
    kernel,  // its executor runs the kernel of `task`; where it stands is not known
  };
  StreamId stream;
  State state = State::turn;
  bool runs_ahead = false;
  TaskId task;  // the head, or the one whose kernel runs
  int64_t step = 0;
  int64_t done = 0;  // firings of this step
  std::vector<Lack> lacks;
};

// Of the plan that a process runs, in which life.
struct Standings {
  int32_t handle = -1;  // -1: it runs none
  uint32_t epoch = 0;
  std::vector<Standing> streams;
};

// Seconds that a report waits for executors whose kernels run.
constexpr double kStandingsPatience = 0.1;

// `busy[e]`, of the e-th own executor that does not stop: the task whose kernel it runs; invalid for something else, and
// then nothing is said of its streams. All other executors stand still while this looks.
std::vector<Standing> standings(const LoadedPlan& plan, const std::vector<std::optional<TaskId>>& busy);

}  // namespace troupe
