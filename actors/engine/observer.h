// Records an executor's firings of one plan; see observe.h for what.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "actors/engine/observe.h"
#include "actors/engine/task_actor.h"
#include "runtime/base/clock.h"
#include "runtime/plan/plan.h"

namespace troupe {

// Bytes of live slots per device, now and at most. Shared by the executors of a plan; thread-safe.
struct LiveBytes {
  struct OfDevice {
    std::atomic<int64_t> now{0};
    std::atomic<int64_t> peak{0};
  };
  explicit LiveBytes(size_t devices) : of(devices) {}
  void add(DeviceId device, int64_t bytes);
  std::vector<OfDevice> of;
};

// Used by one executor; read while nothing runs.
class Observer {
 public:
  Observer(const Plan& plan, const Observe& what, const Clock& clock, std::shared_ptr<LiveBytes> live);

  // The plan starts afresh; these tasks are the executor's.
  void restart(const std::vector<TaskActor*>& tasks);
  void begin(const TaskActor& task);
  void end(const TaskActor& task, int64_t position);
  void posted(bool crossing) {
    ++messages_;
    crossing_ += crossing;
  }
  // The producer has heard that a reader is done with the version in this slot.
  void freed(const TaskActor& producer, int32_t reader, int64_t version);
  // Adds what this executor saw; messages, trace and all.
  void report(Observations& into) const;

 private:
  void begin_writing(const TaskActor& task);
  void end_writing(const TaskActor& task);
  void take_live(int32_t reg, size_t slot, int holders);
  void drop_live(int32_t reg, size_t slot);
  void scan(const TaskActor& task, int64_t position);

  const Plan& plan_;
  const Observe what_;
  const Clock& clock_;
  std::vector<TaskObservation> tasks_;
  std::vector<TracedFiring> trace_;
  std::shared_ptr<LiveBytes> live_;
  std::vector<std::vector<int32_t>> holders_;  // by register and slot: who still needs the version in it
  std::vector<bool> fetched_;                  // by register: the driver reads it, at any time
  std::optional<NonFinite> nonfinite_;
  int64_t messages_ = 0;
  int64_t crossing_ = 0;
  double begin_s_ = 0;
};

// Whether `a` is reported rather than `b`.
bool comes_first(const NonFinite& a, const NonFinite& b, const Plan& plan);

}  // namespace troupe
