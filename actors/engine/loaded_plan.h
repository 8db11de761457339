// A plan made ready to run: its task actors and streams, dealt out to the executors.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

#include "actors/engine/observer.h"
#include "actors/engine/stream_loop.h"
#include "actors/engine/task_actor.h"
#include "runtime/device/source.h"
#include "runtime/plan/plan.h"

namespace troupe {

class LoadedPlan;

using PlanHandle = Id<struct LoadedPlanTag>;
using SourceMap = std::map<std::string, std::shared_ptr<Source>>;  // by the name in PlanTask::kernel

// An executor's part of a plan. Used by that executor alone, but for `reached`.
struct Share {
  LoadedPlan* plan = nullptr;
  std::vector<std::unique_ptr<StreamLoop>> streams;  // those with tasks
  std::vector<TaskActor*> tasks;                     // by TaskId; null when elsewhere
  int32_t limited = 0;                               // streams that the limit holds back ...
  int32_t at_limit = 0;                              // ... and how many have come to it
  alignas(64) std::atomic<int64_t> reached{0};       // all of them have ended the steps before this one
  std::unique_ptr<Observer> observer;                // null when nothing is recorded
};

// Built and changed while nothing runs.
class LoadedPlan {
 public:
  // `executor_of[stream]` says where each stream runs.
  LoadedPlan(std::shared_ptr<const Plan> plan, PlanHandle handle, const KernelTable& kernels, int executors,
             const std::vector<int>& executor_of);
  ~LoadedPlan();

  const Plan& plan() const { return *plan_; }
  PlanHandle handle() const { return handle_; }
  Share& share(int executor) const { return *shares_[static_cast<size_t>(executor)]; }
  TaskActor& actor(TaskId task) const { return *actors_[task.index()]; }
  int executor_of(StreamId stream) const { return executor_of_[stream.index()]; }

  void set_sources(SourceMap sources);
  // PlanError that names the sources that are not there.
  void check_sources() const;
  // A new life: credits, streams and counters as before the first firing, which is one of `first_step`.
  void restart(uint32_t epoch, int64_t first_step);
  // The most messages that can be under way from one executor to another.
  int64_t under_way(int from, int to) const {
    const auto it = under_way_.find({from, to});
    return it == under_way_.end() ? 0 : it->second;
  }

  // The slot that holds the newest version; the one that holds what the part says, after the last step.
  size_t newest_slot(RegisterId reg) const;
  size_t slot_of(const PlanPart& part) const;

  // Where a register lies; invalid for a control edge.
  DeviceId device_of(RegisterId reg) const { return plan_->reg(reg).device; }

  uint32_t epoch = 0;
  bool fresh = true;              // to be restarted before it runs
  int64_t first_step = 0;         // of this life
  int64_t next_step = 0;          // where it stands
  std::atomic<int64_t> limit{0};  // the first step that may not begin

 private:
  void make_actors(const KernelTable& kernels);
  std::vector<bool> held_by_credits() const;  // by stream
  void make_streams();
  void count(int from, int to, int64_t messages);
  int64_t versions_after(RegisterId reg, int64_t steps) const;

  std::shared_ptr<const Plan> plan_;
  PlanHandle handle_;
  std::vector<int> executor_of_;
  std::vector<std::unique_ptr<std::pmr::monotonic_buffer_resource>> memory_;  // per executor: its actors side by side
  std::vector<TaskActor*> actors_;                                            // by TaskId
  std::vector<std::unique_ptr<Share>> shares_;
  std::map<std::pair<int, int>, int64_t> under_way_;
  SourceMap sources_;
};

}  // namespace troupe
