// A plan made ready to run: the task actors and streams of this process, dealt out to its executors.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine/device_edges.h"
#include "actors/engine/observer.h"
#include "actors/engine/plan_life.h"
#include "actors/engine/ports.h"
#include "actors/engine/stream_loop.h"
#include "actors/engine/task_actor.h"
#include "runtime/device/backend.h"
#include "runtime/device/source.h"
#include "runtime/plan/plan.h"

namespace troupe {

// The queue that a stream's kernels are put into; null where they run at once. Outlives the plan.
using QueueOfStream = std::function<DeviceQueue*(const Plan&, StreamId)>;
using SourceMap = std::map<std::string, std::shared_ptr<Source>>;  // by the name in PlanTask::kernel

// A failure of a task, with its name and device.
Fault fault_at(const Plan& plan, TaskId task, Fault fault);

// Executors are numbered through all processes of a run; these belong to one.
struct ExecutorRange {
  int first = 0;
  int count = 1;
  bool contains(int executor) const { return executor >= first && executor < first + count; }
};

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
class LoadedPlan : public PlanLife {
 public:
  // `executor_of[stream]` says where each stream runs; there are actors for what runs on `own` executors.
  LoadedPlan(std::shared_ptr<const Plan> plan, PlanHandle handle, const KernelTable& kernels, ExecutorRange own,
             const std::vector<int>& executor_of, const QueueOfStream& queue_of = {});
  ~LoadedPlan();

  ExecutorRange own() const { return own_; }
  // Of an own executor; of a task that runs on one.
  Share& share(int executor) const { return *shares_[static_cast<size_t>(executor - own_.first)]; }
  TaskActor& actor(TaskId task) const { return *actors_[task.index()]; }
  bool is_own(TaskId task) const { return actors_[task.index()] != nullptr; }
  int executor_of(StreamId stream) const { return executor_of_[stream.index()]; }

  // Where kernels on devices report; in memory that these reach. Null where there are none.
  void set_report(DeviceMemory report);
  // What one has reported since the plan's life began: the fault of it. Only once its queue has passed the kernel.
  std::optional<Fault> reported() const;

  void set_sources(SourceMap sources);
  // PlanError that names the sources that are not there.
  void check_sources() const;
  // A new life: credits, streams and counters as before the first firing, which is one of `first_step`.
  void restart(uint32_t epoch, int64_t first_step);
  const UnderWay& under_way() const { return under_way_; }

  std::atomic<int64_t> limit{0};  // the first step that may not begin

 private:
  void make_actors(const KernelTable& kernels);
  std::vector<bool> held_by_credits() const;  // by stream
  void make_streams(const QueueOfStream& queue_of);

  ExecutorRange own_;
  std::vector<int> executor_of_;
  std::vector<std::unique_ptr<std::pmr::monotonic_buffer_resource>> memory_;  // per executor: its actors side by side
  std::vector<TaskActor*> actors_;                                            // by TaskId; null when elsewhere
  std::vector<std::unique_ptr<Share>> shares_;
  UnderWay under_way_;
  DeviceEdges device_edges_;
  const KernelTable& kernels_;
  DeviceMemory report_memory_;
  KernelReport* report_ = nullptr;
  SourceMap sources_;
};

}  // namespace troupe
