// The engine: runs plans on the devices of one process. It owns the memory, the executors and what they share, but no
// thread: executors are run by whoever calls `executor(i).run(...)` (threads of the shell, plain threads, or a
// simulation), and a sleeping one is woken through the bell.
//
//   load(train) load(evaluate)          plans of one epoch share variables and workspace
//   start(train, 0, 10) -> wait(60)     steps 0..9; sources read on ahead
//   start(evaluate, 0, 3) -> wait(60)   the paused plan keeps what its sources have read
//   start(train, 10, 10) -> wait(60)    goes on where it stopped; any other first step starts the plan afresh
//
// A failure of the world is a Fault: executors stop, `wait` raises FaultError; the next start begins afresh.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "actors/engine/executor.h"
#include "actors/engine/loaded_plan.h"
#include "actors/engine/memory.h"
#include "actors/engine/observe.h"
#include "runtime/base/clock.h"
#include "runtime/plan/plan.h"

namespace troupe {

struct EngineOptions {
  int executors = 1;
  double spin_s = 50e-6;  // how long an executor without work looks for some before it sleeps
  // Where a stream runs; -1 or empty: devices are dealt out in blocks, all streams of a device on one executor.
  std::function<int(const Plan&, StreamId)> place;
};

// All members may be called from any one thread at a time (the driver's); executors run concurrently with them. `wake`,
// `fault` and `raise` may be called from any thread. Memory must only be touched between a wait and the next start.
class Engine {
 public:
  // The table and the clock outlive the engine.
  Engine(const KernelTable& kernels, EngineOptions options, const Clock& clock);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Checks what the engine relies on (PlanError otherwise), allocates all that the plan will ever need, binds it.
  // Variables keep their bytes when a later plan of the epoch extends the arena. Nothing may run.
  PlanHandle load(std::shared_ptr<const Plan> plan, SourceMap sources = {});
  // Forgets the plan; the memory goes when the last plan does. Nothing may run.
  void unload(PlanHandle handle);
  const Plan& plan(PlanHandle handle) const;
  // Other data for the plan's sources; what had been read ahead is dropped with the next start.
  void set_sources(PlanHandle handle, SourceMap sources);

  // Begins steps first_step .. first_step + steps - 1 and returns. PlanError when a source is missing or a plan runs.
  void start(PlanHandle handle, int64_t first_step, int64_t steps);
  // Blocks until the steps are done. FaultError when something failed, or when no firing ended for `patience_s`
  // seconds: then the text is the stall report.
  void wait(double patience_s);
  // The same for at most so long: true when the steps are done.
  bool wait_for(double at_most_s, double patience_s);
  void run(PlanHandle handle, int64_t first_step, int64_t steps, double patience_s = 60) {
    start(handle, first_step, steps);
    wait(patience_s);
  }
  bool running() const;
  std::optional<Fault> fault() const;
  // Ends the current run where it is; the next start begins afresh. Returns when no kernel runs any more.
  void stop();
  // A source has become ready: executors look again.
  void wake();

  // The bytes of the newest version of a register, or of the version of one piece of the last step.
  std::span<std::byte> bytes(PlanHandle handle, RegisterId reg) const;
  std::span<std::byte> bytes(PlanHandle handle, const PlanPart& part) const;
  std::span<std::byte> bytes(PlanHandle handle, RegisterId reg, size_t slot) const;
  // A logical tensor put together from its parts, and taken apart into every copy. Row-major; sizes must agree.
  void fetch(PlanHandle handle, const PlanOutput& output, std::span<std::byte> into) const;
  void read(PlanHandle handle, const PlanVariable& variable, std::span<std::byte> into) const;
  void write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from);

  // What is recorded about a plan's firings from now on; nothing by default. Nothing may run.
  void observe(PlanHandle handle, const Observe& what);
  Observations observations(PlanHandle handle);

  // Who waits for whom, and who should have fired. Waits for running kernels for at most a tenth of a second.
  std::string stall_report();

  // For whoever provides the threads, or the simulation.
  int executors() const { return static_cast<int>(executors_.size()); }
  Executor& executor(int index) { return *executors_.at(static_cast<size_t>(index)); }
  // Called with the index of an executor that sleeps and has work; from any thread, must not block.
  void set_bell(std::function<void(int)> bell);
  Lane* lane(int from, int to) { return lanes_.at(static_cast<size_t>(from * executors() + to)).get(); }
  const LoadedPlan& loaded(PlanHandle handle) const;
  // An executor or its thread has failed.
  void raise(Fault fault) { shared_.raise(std::move(fault)); }

 private:
  class Pause;
  void check_not_running(const char* what) const;
  LoadedPlan& find(PlanHandle handle) const;
  bool all_reached() const;
  Fault stall();
  void connect();
  void bind_all();
  std::byte* slot_data(const LoadedPlan& loaded, RegisterId reg, size_t slot) const;

  const KernelTable& kernels_;
  EngineOptions options_;
  const Clock& clock_;
  Shared shared_;
  Memory memory_;
  std::vector<std::unique_ptr<LoadedPlan>> plans_;  // by handle; null when unloaded
  std::vector<std::unique_ptr<Lane>> lanes_;        // sender * executors + receiver
  std::vector<std::unique_ptr<Executor>> executors_;
  LoadedPlan* current_ = nullptr;  // whose steps are being run
  uint32_t epoch_ = 0;             // the last life given out
  uint64_t seen_firings_ = 0;      // progress as `wait` last saw it, and when
  double seen_at_ = 0;
};

}  // namespace troupe
