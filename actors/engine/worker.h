// A worker: one process's part of a run, steered by a driver elsewhere. A state machine around an engine: commands go
// in, replies come out, and it waits for nothing. Whoever owns it provides the threads of its executors and carries the
// messages.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "actors/engine/control.h"
#include "actors/engine/engine.h"
#include "actors/engine/feed.h"

namespace troupe {

// All members by one thread at a time, but for `beat`; the executors' threads run concurrently.
class Worker {
 public:
  // The table and the clock outlive the worker.
  Worker(const KernelTable& kernels, const Clock& clock) : kernels_(kernels), clock_(clock) {}

  // The answer to the command of this number and what else there is to say. A mistake or a failure is an answer too.
  std::vector<Reply> on(uint64_t request, const Command& command);
  // To be called when the executors have got somewhere (see `set_changed`): steps that are done, or a fault.
  std::vector<Reply> on_change();
  Beat beat() const { return {engine_ ? engine_->firings() : 0}; }

  // Null before the welcome. Its executors are run from then on.
  Engine* engine() { return engine_.get(); }
  // Called by executors, from their threads: `on_change` has something to say. Must not block.
  void set_changed(std::function<void()> changed) { changed_ = std::move(changed); }
  bool over() const { return over_; }  // it was told to leave, or was refused

 private:
  void carry_out(const Welcome& welcome);
  void carry_out(const LoadPlan& load);
  void carry_out(const SetSources& sources);
  void carry_out(const HandOver& batch);
  std::vector<Reply> answer(uint64_t request, const Command& command);
  Engine& started();

  const KernelTable& kernels_;
  const Clock& clock_;
  std::function<void()> changed_;
  std::vector<WorkerShare> workers_;
  Arena doorbells_;
  std::unique_ptr<Engine> engine_;
  std::map<int64_t, std::shared_ptr<Feed>> feeds_;
  PlanHandle running_;  // what goes, until it is reached
  bool over_ = false;
};

}  // namespace troupe
