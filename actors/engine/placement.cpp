#include "actors/engine/placement.h"

#include <algorithm>
#include <numeric>

#include "actors/engine/control.h"
#include "actors/engine/device_names.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

// By device: its executor. Devices in order, so that executors have about the same work.
std::vector<int> place_devices(const Plan& plan, int executors) {
  std::vector<double> work(plan.devices.size(), 0);
  for (const PlanTask& task : plan.tasks) work[task.device.index()] += task.predicted_s * task.firings_per_step;
  double total = std::accumulate(work.begin(), work.end(), 0.0);
  if (total <= 0) {  // a plan without predictions
    work.assign(work.size(), 1);
    total = static_cast<double>(work.size());
  }
  std::vector<int> result;
  double before = 0;
  for (double of_device : work) {
    result.push_back(std::min(static_cast<int>((before + of_device / 2) / total * executors), executors - 1));
    before += of_device;
  }
  return result;
}

}  // namespace

int process_of_device(const std::string& device, const std::vector<WorkerShare>& workers) {
  const int executor = executor_of_device(device, workers);
  int past = 0;
  for (size_t w = 0; w < workers.size(); ++w) {
    past += workers[w].executors;
    if (executor >= 0 && executor < past) return static_cast<int>(w);
  }
  return -1;
}

int executor_of_device(const std::string& device, const std::vector<WorkerShare>& workers) {
  int index = number_of(device);
  if (index < 0) return -1;
  int first = 0;  // executor of the worker
  for (const WorkerShare& worker : workers) {
    if (index < worker.devices) return first + index * worker.executors / worker.devices;
    index -= worker.devices;
    first += worker.executors;
  }
  return -1;
}

std::vector<int> place_streams(const Plan& plan, int executors, const PlaceOfStream& place) {
  std::vector<int> executor_of;
  const std::vector<int> of_device = place_devices(plan, executors);
  for (size_t s = 0; s < plan.streams.size(); ++s) {
    int at = place ? place(plan, StreamId(static_cast<int64_t>(s))) : -1;
    if (at < 0) at = of_device[plan.streams[s].device.index()];
    CHECK(at < executors, at, executors);
    executor_of.push_back(at);
  }
  return executor_of;
}

}  // namespace troupe
