// Why nothing moves: who waits for whom, over all processes of a run, and the one that should have moved.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine/plan_life.h"
#include "actors/engine/standing.h"
#include "actors/engine/wait_graph.h"
#include "runtime/base/error.h"

namespace troupe {

struct StallProcess {
  std::string name;    // "worker 1 (node7, process 4711)"; empty where the run has one process
  double quiet_s = 0;  // since a task of it has fired last
  std::string absent;  // why it does not say where it stands, "does not answer"; empty when it does
};

// What is known when nothing has moved for a while.
struct StallScene {
  const PlanLife* life = nullptr;  // of the plan that runs; null when none does
  double quiet_s = 0;              // in all processes
  std::vector<StallProcess> processes;
  std::function<int(DeviceId)> process_of;
  std::vector<Standing> standings;  // of all that say it
  std::optional<int> suspect{};     // only who waits for this process matters
};

struct Stall {
  WaitEnd end = WaitEnd::nothing;
  // `what` has a line on who should have moved, then `waits`. Its task is the one that should have moved; for a link, the
  // one that waits for the message, and `peer` has sent it.
  Fault fault;
  std::string waits;  // a line for each that waits, from there on up to the last; each begins with "\n"
};

Stall explain_stall(const StallScene& scene);

}  // namespace troupe
