#include "actors/engine/device_edges.h"

#include "actors/engine/stream_loop.h"

namespace troupe {
namespace {

DeviceQueue* queue_of(const TaskActor* actor) {
  return actor == nullptr ? nullptr : actor->loop->device_stream.queue();
}

}  // namespace

DeviceEdges::DeviceEdges(const Plan& plan, const Ports& ports, const std::vector<TaskActor*>& actors) {
  using Way = QueuedTask::Edge::Way;
  for (TaskActor* actor : actors) {
    if (queue_of(actor) != nullptr) actor->queued();
  }
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    TaskActor* producer = actors[t];
    DeviceQueue* from = queue_of(producer);
    int32_t reader = 0;  // numbered through all outputs
    for (size_t o = 0; o < plan.tasks[t].outputs.size(); ++o) {
      const RegisterId reg = plan.tasks[t].outputs[o];
      const int32_t slots = plan.reg(reg).slot_count;
      DeviceMark* ready = nullptr;  // one for all readers
      for (const ReaderPort& port : ports.readers[reg.index()]) {
        TaskActor* consumer = actors[port.task.index()];
        DeviceQueue* to = queue_of(consumer);
        const int32_t number = reader++;
        if (from == to) continue;
        if (from != nullptr && to != nullptr) {
          if (ready == nullptr) ready = marks(slots);
          DeviceMark* freed = marks(slots);
          producer->queued().ready[static_cast<size_t>(number)] = {Way::marked, ready};
          consumer->queued().freed[static_cast<size_t>(port.port)] = {Way::marked, freed};
          consumer->queued().awaited.push_back({from, ready, port.port, false});
          producer->queued().awaited.push_back({to, freed, static_cast<int32_t>(o), true});
        } else if (from != nullptr) {
          producer->queued().ready[static_cast<size_t>(number)] = {Way::held, nullptr};
        } else {
          consumer->queued().freed[static_cast<size_t>(port.port)] = {Way::held, nullptr};
        }
      }
    }
  }
}

DeviceMark* DeviceEdges::marks(int32_t slots) {
  marks_.push_back({std::make_unique<DeviceMark[]>(static_cast<size_t>(slots)), slots});
  return marks_.back().of.get();
}

void DeviceEdges::restart() {
  for (const Marks& marks : marks_) {
    for (int32_t slot = 0; slot < marks.count; ++slot) marks.of[slot].store(0, std::memory_order_relaxed);
  }
}

}  // namespace troupe
