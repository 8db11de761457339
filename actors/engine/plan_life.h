// Where a loaded plan stands: which steps of it have been run since it began afresh, and so which slot of a register
// holds what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "runtime/base/id.h"
#include "runtime/plan/plan.h"

namespace troupe {

class LoadedPlan;
using PlanHandle = Id<struct LoadedPlanTag>;

// Changed while nothing runs.
class PlanLife {
 public:
  PlanLife(std::shared_ptr<const Plan> plan, PlanHandle handle) : plan_(std::move(plan)), handle_(handle) {}

  const Plan& plan() const { return *plan_; }
  PlanHandle handle() const { return handle_; }
  // Where a register lies; invalid for a control edge.
  DeviceId device_of(RegisterId reg) const { return plan_->reg(reg).device; }

  // As before the first firing, which is one of `step`.
  void begin(uint32_t new_epoch, int64_t step) {
    epoch = new_epoch;
    first_step = next_step = step;
    fresh = false;
  }
  // The slot that holds the newest version; the one that holds what the part says, after the last step.
  size_t newest_slot(RegisterId reg) const;
  size_t slot_of(const PlanPart& part) const;

  uint32_t epoch = 0;
  bool fresh = true;       // to begin afresh before it runs
  int64_t first_step = 0;  // of this life
  int64_t next_step = 0;   // where it stands

 private:
  int64_t versions_after(RegisterId reg, int64_t steps) const;

  std::shared_ptr<const Plan> plan_;
  PlanHandle handle_;
};

}  // namespace troupe
