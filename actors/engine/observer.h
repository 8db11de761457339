// Records an executor's firings of one plan; see observe.h for what.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "actors/engine/device_times.h"
#include "actors/engine/firing_trace.h"
#include "actors/engine/observe.h"
#include "actors/engine/task_actor.h"
#include "runtime/base/clock.h"
#include "runtime/device/backend.h"
#include "runtime/plan/kept_bytes.h"
#include "runtime/plan/plan.h"

namespace troupe {

// Bytes that are live on each device, now and at most. Shared by the executors of a plan; thread-safe.
struct LiveBytes {
  struct Count {
    std::atomic<int64_t> now{0};
    std::atomic<int64_t> peak{0};
    int64_t add(int64_t bytes);  // what it is then
  };
  struct OfDevice {
    Count slots;      // in the workspace and io arenas
    Count workspace;  // slots there, and the scratch of the tasks that run
  };
  explicit LiveBytes(const Plan& plan);
  const KeptBytes kept;
  std::vector<OfDevice> of;
};

// Used by one executor; read while nothing runs.
class Observer {
 public:
  // With a backend tensors may lie on its devices; what is scanned is copied from there. `queues` are those of the plan's
  // streams, where this executor has them, and empty.
  Observer(const Plan& plan, const Observe& what, const Clock& clock, std::shared_ptr<LiveBytes> live,
           DeviceBackend* backend = nullptr, std::vector<DeviceQueue*> queues = {});

  // The plan starts afresh; these tasks are the executor's.
  void restart(const std::vector<TaskActor*>& tasks);
  void begin(const TaskActor& task);
  // Whether `end` reads what the firing has made: then it must have run.
  bool reads_outputs() const { return what_.finite; }
  void end(const TaskActor& task, int64_t position);
  void posted(bool crossing) {
    ++messages_;
    crossing_ += crossing;
  }
  // A stream's head cannot fire; what it lacked has come.
  void waits(StreamId stream) {
    if (trace_.any()) trace_.waits(stream, clock_.now());
  }
  void goes_on(StreamId stream, WaitsFor what, RegisterId reg = {}) {
    if (trace_.any()) trace_.goes_on(stream, what, reg, clock_.now());
  }
  // The producer has heard that a reader is done with the version in this slot.
  void freed(const TaskActor& producer, int32_t reader, int64_t version);
  // Adds what this executor saw; messages, trace and all.
  void report(Observations& into) const;

 private:
  // Slots that lie in the same place: an output may take over an input's bytes, which count once.
  struct Place {
    DeviceId device;
    ArenaKind arena = ArenaKind::workspace;
    int64_t offset = 0;
    int32_t holders = 0;
    int64_t bytes = 0;  // without those that count always
  };
  struct Slot {
    int32_t holders = 0;  // who still needs the version in it
    int32_t place = 0;
    int64_t bytes = 0;  // that it adds to those that count always
  };
  // What is asked at each firing, side by side: a plan's own entries are long and far apart.
  struct OfTask {
    DeviceId device;
    StreamId stream;
    int64_t scratch = 0;  // bytes, without those that count always
  };
  void find_places();
  void begin_writing(const TaskActor& task);
  void end_writing(const TaskActor& task);
  void count_scratch(const TaskActor& task, int sign);
  void add_live(Place& place, int64_t bytes);
  void add_workspace(DeviceId device, int64_t bytes);
  void take_live(int32_t reg, size_t slot, int holders);
  void drop_live(int32_t reg, size_t slot);
  void trace(const TaskActor& task, double end_s);
  void scan(const TaskActor& task, int64_t position);
  TensorView on_host(TensorView view);

  const Plan& plan_;
  const Observe what_;
  const Clock& clock_;
  std::vector<TaskObservation> tasks_;
  FiringTrace trace_;
  std::optional<DeviceTimes> device_times_;  // where there are queues, and something is traced
  std::shared_ptr<LiveBytes> live_;
  std::vector<int64_t> most_live_;        // by device: since the last firing that was traced
  std::vector<std::vector<Slot>> slots_;  // by register; none for control edges, variables and what counts always
  std::vector<Place> places_;
  std::vector<OfTask> of_task_;
  std::vector<bool> fetched_;  // by register: the driver reads it, at any time
  std::optional<NonFinite> nonfinite_;
  DeviceBackend* backend_;
  std::vector<std::byte> staged_;
  int64_t messages_ = 0;
  int64_t crossing_ = 0;
  double begin_s_ = 0;
};

// Whether `a` is reported rather than `b`.
bool comes_first(const NonFinite& a, const NonFinite& b, const Plan& plan);

// Puts all times so many seconds back.
void set_back(Observations& seen, double seconds);

// Adds what another process has seen of the same plan; each task and each device belongs to one of them.
void merge(Observations& into, const Observations& other, const Plan& plan);

}  // namespace troupe
