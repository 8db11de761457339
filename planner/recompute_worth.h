// What recomputing a module would save and cost, judged by a plan that keeps everything.
#pragma once

#include <string>
#include <vector>

#include "ops/graph.h"
#include "runtime/plan/plan.h"

namespace troupe {

// The next better way to recompute a unit: these modules instead of those of the step before.
struct Upgrade {
  size_t unit = 0;
  std::vector<std::string> modules;
  double bytes = 0;    // saved on all devices together, beyond the step before
  double seconds = 0;  // of work per step, likewise
  double worth() const { return bytes / seconds; }
};

// Upgrades that act on the same devices, best first; each unit's in their order.
struct Ladder {
  std::vector<size_t> devices;
  std::vector<Upgrade> upgrades;
};

// `modules` as in fit(); `recomputed` is so already, and so is what stands above or below it. A unit's upgrades have
// less and less worth: what saves less per second than its whole is left out. Estimates: what the backward pass reads
// no more, and what is made again, in the sizes and times of the plan.
std::vector<Ladder> recompute_ladders(const Graph& graph, const std::vector<std::string>& recomputed,
                                      const std::vector<std::string>& modules, const Plan& plan);

}  // namespace troupe
