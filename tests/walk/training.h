// Runs training graphs: as plans on threads or under simulated timing, and op by op without a plan.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine/observe.h"
#include "ops/graph.h"
#include "ops/interpret.h"
#include "planner/choices.h"
#include "runtime/plan/plan.h"

namespace troupe {

// By source: the whole batch of a step.
using Batches = std::map<std::string, std::function<HostTensor(int64_t step)>>;

// Numbers in [-scale, scale) that only the name decides.
std::vector<double> formula(const std::string& name, int64_t count, double scale);
// A batch of such numbers, and of ids below a bound.
std::function<HostTensor(int64_t)> random_numbers(const std::string& name, const Shape& shape);
std::function<HostTensor(int64_t)> random_ids(const std::string& name, const Shape& shape, int64_t below);

// Initial values: parameters (whose names end in "weight" or "bias") by formula, all else zero.
std::map<std::string, HostTensor> initial_variables(const Graph& graph);

struct HowToRun {
  int executors = 1;
  std::optional<uint64_t> scrambled = {};  // this seed's timing instead of threads
  // Instead: simulated time that passes as the plan predicts, an executor for each stream, no pause between steps; the
  // only loss is the last one.
  bool as_predicted = false;
  bool count_live_bytes = false;
  bool count_traffic = false;
  bool trace = false;
  bool watch_gaps = false;  // see Untouched
};

// The first output after each step, the variables after the last.
struct Trained {
  std::vector<float> losses;
  std::map<std::string, HostTensor> variables;
  std::vector<int64_t> peak_bytes;  // per device, where they were counted
  double simulated_s = 0;           // in simulated time: when the last step ended
  int64_t received_bytes = 0;       // from other devices, in all steps, where traffic was counted
  std::vector<TracedFiring> trace;  // of all steps
  int64_t gap_bytes = 0;            // where gaps were watched
  std::string written_gap;
};
// Reports a failure of the test when something goes wrong.
Trained run_plan(const Graph& graph, const Plan& plan, const Batches& batches, int steps, const HowToRun& how);
// Nothing when a scrambled run went wrong.
std::optional<Trained> try_plan(const Graph& graph, const Plan& plan, const Batches& batches, int steps,
                                const HowToRun& how, std::string* wrong = nullptr);
// Compiles first.
Trained train(const Graph& graph, const Choices& choices, const Batches& batches, int steps, const HowToRun& how);
// The graph holds the whole batch.
Trained interpret_training(const Graph& graph, const Batches& batches, int steps);

}  // namespace troupe
