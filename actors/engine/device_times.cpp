#include "actors/engine/device_times.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

constexpr std::chrono::seconds kPatience(1);

void wait_until_passed(DeviceQueue& queue) {
  const uint64_t mark = queue.mark();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!queue.has_passed(mark)) {
    if (std::chrono::steady_clock::now() > deadline) {
      Fault fault;
      fault.what = "an empty queue of a device does not come to its end";
      fault.deadline = std::chrono::duration<double>(kPatience).count();
      throw FaultError(std::move(fault));
    }
    std::this_thread::yield();
  }
}

}  // namespace

DeviceTimes::DeviceTimes(std::vector<DeviceQueue*> queues, const Clock& clock) : queues_(std::move(queues)) {
  for (DeviceQueue* queue : queues_) {
    if (queue == nullptr) continue;
    std::unique_ptr<DeviceStamp> stamp = queue->stamp();
    if (stamp == nullptr) continue;
    wait_until_passed(*queue);
    bases_[queue] = {std::move(stamp), clock.now()};
  }
}

void DeviceTimes::begin(StreamId stream) {
  DeviceQueue* queue = queues_[stream.index()];
  begun_ = queue == nullptr ? nullptr : queue->stamp();
}

void DeviceTimes::end(StreamId stream) {
  const auto base = bases_.find(queues_[stream.index()]);
  firings_.emplace_back();
  if (base == bases_.end()) return;
  firings_.back() = {&base->second, std::move(begun_), queues_[stream.index()]->stamp()};
}

std::vector<TracedFiring> DeviceTimes::put_into(std::vector<TracedFiring> firings) const {
  CHECK(firings.size() == firings_.size(), firings.size(), firings_.size());
  const std::vector<TracedFiring> seen = firings;
  std::map<const Base*, double> free_since;
  try {
    for (size_t i = 0; i < firings.size(); ++i) {
      const Firing& on_device = firings_[i];
      if (on_device.base == nullptr) continue;
      TracedFiring& firing = firings[i];
      const DeviceStamp& base = *on_device.base->stamp;
      firing.begin_s = on_device.base->at + on_device.begin->seconds_since(base);
      firing.end_s = on_device.base->at + on_device.end->seconds_since(base);
      const auto since = free_since.try_emplace(on_device.base, firing.wait_begin_s).first;
      if (firing.waited_for != WaitsFor::nothing) {
        firing.wait_begin_s = std::max(firing.wait_begin_s, since->second);
        firing.wait_end_s = firing.begin_s;
        if (firing.wait_end_s - firing.wait_begin_s < kShortestWait) firing.waited_for = WaitsFor::nothing;
      }
      since->second = firing.end_s;
    }
  } catch (const FaultError&) {
    return seen;
  }
  return firings;
}

}  // namespace troupe
