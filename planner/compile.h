// From a logical graph to a plan: the walk, stage by stage.
#pragma once

#include <array>
#include <map>
#include <string>

#include "ops/graph.h"
#include "planner/choices.h"
#include "runtime/plan/plan.h"

namespace troupe {

// What a plan costs and how it was made, for people and for search.
struct MemoryByKind {
  int64_t parameters = 0;   // trainable and other variables read by the forward pass
  int64_t optimizer = 0;    // variables only the update touches
  int64_t activations = 0;  // workspace at its peak: what the forward and backward passes hold
  int64_t gradients = 0;    // workspace at its peak: accumulators and reduced gradients
  int64_t io = 0;           // read-ahead and fetched values
  int64_t total() const { return parameters + optimizer + activations + gradients + io; }
  bool operator==(const MemoryByKind&) const = default;
  MemoryByKind& operator+=(const MemoryByKind& other);
};

struct Summary {
  std::vector<MemoryByKind> memory;              // per device
  std::vector<std::string> peak_tensors;         // of the device with the highest peak: "name f32[..] 1.0 MiB"
  double bubble = 0;                             // see Certificate
  double cycle_s = 0;                            // see Certificate
  std::array<int64_t, kLinkKinds> link_bytes{};  // per step, received by all devices together, by kind of link
  int send_slots = 0;                            // of a pipeline: slots of what another stage reads
  std::string text;                              // what TrainStep.plan().summary() prints
};

struct Compiled {
  Plan plan;
  Summary summary;
  std::map<std::string, std::string> stages;                // the text of each stage, by its name
  std::map<std::string, Choices::BoundVariable> variables;  // where each variable lies, for other plans
  std::vector<int64_t> variables_end;
};

// Throws PlanError on a user's mistake. Deterministic: equal inputs give equal bytes. Thread-safe.
Compiled compile(const Graph& graph, const Choices& choices, const Profile& profile);

}  // namespace troupe
