#include "actors/engine/device_queues.h"

#include <algorithm>

#include "actors/engine/device_names.h"

namespace troupe {

DeviceQueue* DeviceQueues::find(const Plan& plan, StreamId id) {
  const PlanStream& stream = plan.streams[id.index()];
  if (kind_of(plan, stream.device) == DeviceKind::cpu) return nullptr;
  const auto is_source = [&](TaskId task) { return plan.task(task).kind == TaskKind::source; };
  for (const PlanSegment& segment : stream.segments) {
    if (std::any_of(segment.tasks.begin(), segment.tasks.end(), is_source)) return nullptr;
  }
  const std::string& device = plan.devices[stream.device.index()].name;
  std::unique_ptr<DeviceQueue>& queue = queues_[{device, stream.name}];
  if (queue == nullptr) queue = backend_.make_queue(number_of(device));
  return queue.get();
}

void DeviceQueues::forget() {
  for (const auto& [name, queue] : queues_) queue->forget();
}

}  // namespace troupe
