// The engine: runs plans on the devices of one process. It owns the memory, the executors and what they share, but no
// thread: executors are run by whoever calls `executor(i).run(...)` (threads of the shell, plain threads, or a
// simulation), and a sleeping one is woken through the bell.
//
// A run may span several processes of a host: each has an engine with some of the executors, and all map the same
// memory, lanes and doorbells. Then whoever steers calls hold, load, restart, go and resume on all of them, each when
// all have ended the one before. Of processes that share no memory, each has arenas and lanes of its own, and an exchange
// between them.
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

#include "actors/engine/device_queues.h"
#include "actors/engine/exchange.h"
#include "actors/engine/executor.h"
#include "actors/engine/lane_table.h"
#include "actors/engine/loaded_plan.h"
#include "actors/engine/memory.h"
#include "actors/engine/observe.h"
#include "actors/engine/placement.h"
#include "actors/engine/registers.h"
#include "actors/engine/standing.h"
#include "runtime/base/clock.h"
#include "runtime/plan/plan.h"

namespace troupe {

struct EngineOptions {
  int executors = 1;                 // of the run
  std::optional<ExecutorRange> own;  // those of this process; by default all
  Doorbell* doorbells = nullptr;     // by executor of the run; by default the engine's own
  double spin_s = 50e-6;             // how long an executor without work looks for some before it sleeps
  PlaceOfStream place;
  DeviceBackend* backend = nullptr;  // of CUDA devices; outlives the engine
  QueueOfStream queue_of;            // of devices that compute on their own; by default the backend's
  Exchange* exchange = nullptr;      // where processes of the run share no memory with this one; outlives the engine
  std::function<int(const std::string&)> process_of;  // by device; with an exchange
  std::function<void()> changed;  // from any thread: steps are done, or there is a fault; must not block
};

// Memory that the processes of a run share, from the one that made it.
struct Lent {
  std::vector<Memory::Block> blocks;
  ArenaFile lanes;
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
  // With `lent`, there is memory for the plan already, and lanes as large as those of all plans so far need.
  // The handle is the next free one, or the one that all processes use.
  PlanHandle load(std::shared_ptr<const Plan> plan, SourceMap sources = {}, const Lent* lent = nullptr,
                  PlanHandle handle = {});
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
  // The two halves of `start`: a life that begins with this step, in which nothing is done; then the steps before
  // `until`. Of several processes, all restart before one goes.
  void restart(PlanHandle handle, uint32_t epoch, int64_t first_step);
  void go(PlanHandle handle, int64_t until);
  // Between these no firing begins and none runs in this process.
  void hold();
  void resume();
  bool held() const { return shared_.held(); }  // or failed: no firing may begin
  bool running() const;
  std::optional<Fault> fault() const;
  // Ends the current run where it is; the next start begins afresh. Returns when no kernel runs any more.
  void stop();
  // Drops the fault of a run that is over, so that another may begin.
  void forgive();
  // A source has become ready: executors look again.
  void wake();

  // Where the plan's tensors lie, and their bytes; see Registers.
  Registers registers(PlanHandle handle) const { return {memory_, find(handle)}; }
  template <class... Of>
  std::span<std::byte> bytes(PlanHandle handle, const Of&... of) const {
    return registers(handle).bytes(of...);
  }
  // Registers::write, when nothing runs; PlanError otherwise.
  void write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from);

  // What is recorded about a plan's firings from now on; nothing by default. Nothing may run.
  void observe(PlanHandle handle, const Observe& what);
  Observations observations(PlanHandle handle);

  // Where this process's streams stand in the plan that runs, or ran last. Waits for running kernels for at most a
  // tenth of a second.
  Standings standings();
  // Who waits for whom, and who should have moved, of the streams of this process.
  Fault stall();

  // For whoever provides the threads, or the simulation.
  int executors() const { return options_.executors; }  // of the run
  ExecutorRange own() const { return own_; }
  Executor& executor(int index) const { return *executors_.at(static_cast<size_t>(index - own_.first)); }
  // Called with the index of an executor of the run that sleeps and has work; from any thread, must not block.
  void set_bell(std::function<void(int)> bell);
  Doorbell& doorbell(int executor) const { return doorbells_[executor]; }
  Lane lane(int from, int to) const { return lanes_.lane(from, to); }
  Exchange* exchange() const { return options_.exchange; }
  uint64_t firings() const;
  int64_t read() const;  // see RunProgress; from any thread
  // How long no firing has been seen to end, by who waits.
  double idle_s() const { return running() ? clock_.now() - seen_at_ : 0; }
  const LoadedPlan& loaded(PlanHandle handle) const;
  // An executor or its thread has failed.
  void raise(Fault fault) { shared_.raise(std::move(fault)); }

 private:
  class Pause;
  std::unique_lock<std::mutex> lock_exchange() const;
  void check_not_running(const char* what) const;
  LoadedPlan& find(PlanHandle handle) const;
  bool all_reached() const;
  void connect(Arena lanes = {});
  void bind_all();

  const KernelTable& kernels_;
  EngineOptions options_;
  const Clock& clock_;
  Shared shared_;
  ExecutorRange own_;
  std::vector<Doorbell> own_doorbells_;
  Doorbell* doorbells_;
  Memory memory_;
  std::unique_ptr<DeviceQueues> queues_;  // with a backend
  Arena lane_memory_;
  LaneTable lanes_;
  std::vector<std::unique_ptr<LoadedPlan>> plans_;    // by handle; null when unloaded
  std::vector<std::unique_ptr<Executor>> executors_;  // own ones
  std::vector<std::unique_lock<std::mutex>> locks_;   // of own executors, while paused
  int pauses_ = 0;
  std::unique_ptr<Pause> held_;
  LoadedPlan* current_ = nullptr;  // whose steps are being run
  uint32_t epoch_ = 0;             // the last life given out
  uint64_t seen_firings_ = 0;      // progress as `wait` last saw it, and when
  double seen_at_ = 0;
};

}  // namespace troupe
