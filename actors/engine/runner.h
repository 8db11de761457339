// Something that runs plans for a driver: the devices of this process, or workers in others.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/loaded_plan.h"
#include "actors/engine/observe.h"
#include "actors/engine/registers.h"
#include "runtime/plan/plan.h"

namespace troupe {

// A process that has devices of a run: those after the devices of the ones before it.
struct WorkerState {
  std::string host;
  int32_t process = 0;
  int32_t devices = 0;
  double joined = 0;  // when, by the driver's clock
  double heard = 0;   // the last time
  bool gone = false;
};

// How far a run is, as its driver last saw it.
struct RunProgress {
  double idle_s = 0;  // while steps are waited for: since a firing was seen to end
  int64_t read = -1;  // sources have read the data of the steps before this one, all of them; -1: none has yet
};

// Used by one thread at a time, but for `wake`. Methods mean what the engine's of the same names mean, and throw
// FaultError once what they need is gone.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual PlanHandle load(std::shared_ptr<const Plan> plan, SourceMap sources) = 0;
  virtual void unload(PlanHandle handle) = 0;
  virtual const Plan& plan(PlanHandle handle) const = 0;
  virtual void set_sources(PlanHandle handle, SourceMap sources) = 0;

  virtual void start(PlanHandle handle, int64_t first_step, int64_t steps) = 0;
  virtual bool wait_for(double at_most_s, double patience_s) = 0;
  virtual void stop() = 0;
  virtual void wake() = 0;
  // Ends what runs, and every thread or process that only served this. May be called twice.
  virtual void shutdown() = 0;

  virtual Registers registers(PlanHandle handle) const = 0;
  virtual void write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from) = 0;
  virtual void observe(PlanHandle handle, const Observe& what) = 0;
  virtual Observations observations(PlanHandle handle) = 0;
  virtual RunProgress progress() const = 0;
  // Who waits for whom, and who should have fired; while steps are waited for.
  virtual Fault stall() = 0;
  // None when the devices are this process's.
  virtual std::vector<WorkerState> workers() const { return {}; }
};

}  // namespace troupe
