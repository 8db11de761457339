// Runs a plan the simple way: one firing after another as soon as its inputs exist, every version in memory of its
// own, no credits, no order but data. What the engine computes must equal it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "actors/engine/loaded_plan.h"
#include "runtime/device/kernel.h"
#include "runtime/plan/plan.h"

namespace troupe {

// Not thread-safe. Plan, kernels and sources outlive it; kernels must not need scratch.
class Interpreter {
 public:
  Interpreter(const Plan& plan, const KernelTable& kernels, SourceMap sources, int64_t first_step);

  // The bytes of an initial version.
  void set(RegisterId reg, int64_t version, std::span<const std::byte> bytes);
  // All firings of so many steps.
  void run(int64_t steps);
  // So many steps that this firing is among them.
  void run_until(TaskId task, int64_t firing);
  // What the task's output register held when that firing had ended.
  std::span<const std::byte> after(TaskId task, int64_t firing, size_t output) const;
  // The newest version.
  std::span<const std::byte> newest(RegisterId reg) const;

 private:
  using Bytes = std::vector<std::byte>;
  bool can_fire(size_t task) const;
  void fire(size_t task);
  Bytes& version(RegisterId reg, int64_t version);

  const Plan& plan_;
  const KernelTable& kernels_;
  const SourceMap sources_;
  const int64_t first_step_;
  int64_t steps_ = 0;
  std::vector<int64_t> firings_;                        // by task
  std::vector<int64_t> complete_;                       // by register: versions
  std::vector<std::map<int64_t, Bytes>> held_;          // by register: versions
  std::vector<std::vector<std::vector<Bytes>>> after_;  // by task, firing, output
};

}  // namespace troupe
