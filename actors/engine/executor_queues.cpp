// What an executor does with streams whose kernels are put into queues of devices (device_edges.h).

#include <thread>

#include "actors/engine/executor.h"

namespace troupe {

void Executor::tell_from_queue(StreamLoop& stream) {
  using Way = QueuedTask::Edge::Way;
  TaskActor& task = stream.head();
  uint64_t mark = 0;  // made once for all messages of the firing
  task.finish([&](MessageKind kind, const Route& route, int64_t version, int32_t slot) {
    const QueuedTask::Edge& edge = task.edge(kind, route);
    if (edge.way != Way::direct && mark == 0) mark = stream.device_stream.queue()->mark();
    const StreamLoop::Held message{StreamLoop::Held::What::message, mark, task.id(), kind, &route, version, slot};
    if (edge.way == Way::held) return hold(stream, message);
    if (edge.way == Way::marked) edge.marks[slot].store(mark, std::memory_order_release);
    post_late(stream, message);
  });
}

// Until what has been put into the stream's queue has run, or the run has failed.
void Executor::wait_for_queue(StreamLoop& stream) {
  DeviceQueue& queue = *stream.device_stream.queue();
  const uint64_t mark = queue.mark();
  while (!queue.has_passed(mark) && !shared_.fault()) std::this_thread::yield();
}

void Executor::hold(StreamLoop& from, const StreamLoop::Held& held) {
  if (from.held.empty()) holding_.push_back(&from);
  from.held.push_back(held);
  from.put = TaskId();
}

// False when the queue has failed, and so the run. The task is the last one that may be at fault.
template <class Use>
bool Executor::use_queue(const StreamLoop& stream, TaskId task, Use&& use) {
  try {
    return use(*stream.device_stream.queue());
  } catch (const FaultError& error) {
    shared_.raise(fault_at(stream.share->plan->plan(), task, error.fault()));
    return false;
  }
}

// True when there was something.
bool Executor::let_go() {
  using What = StreamLoop::Held::What;
  bool something = false;
  for (StreamLoop* stream : holding_) {
    while (!stream->held.empty()) {
      const StreamLoop::Held held = stream->held.front();
      const auto has_passed = [&](const DeviceQueue& queue) { return queue.has_passed(held.mark); };
      if (!use_queue(*stream, held.task, has_passed)) break;
      stream->held.pop_front();
      something = true;
      if (std::optional<Fault> fault = stream->share->plan->reported()) [[unlikely]] {
        shared_.raise(*std::move(fault));
      } else if (held.what == What::message) {
        post_late(*stream, held);
      } else if (held.what == What::limit_reached) {
        reach_limit(*stream->share);
      }
    }
  }
  std::erase_if(holding_, [](const StreamLoop* stream) { return stream->held.empty(); });
  if (!staged_.empty()) flush();
  return something;
}

void Executor::find_held() {
  holding_.clear();
  for (const Share* share : shares_) {
    if (share == nullptr || share->plan->fresh) continue;
    for (const auto& stream : share->streams) {
      if (!stream->held.empty()) holding_.push_back(stream.get());
    }
  }
}

// Before it sleeps: when a queue has come as far as messages wait for, or to its end, or has failed. One that fails may be
// what all others wait for, although nothing waits here for it.
void Executor::ask_to_be_rung() {
  for (const Share* share : shares_) {
    if (share == nullptr || share->plan->fresh) continue;
    for (const auto& stream : share->streams) {
      if (!stream->put.valid()) continue;
      use_queue(*stream, stream->put, [&](DeviceQueue& queue) {
        hold(*stream, {StreamLoop::Held::What::nothing, queue.mark(), stream->put});
        return true;
      });
    }
  }
  for (const StreamLoop* stream : holding_) {
    use_queue(*stream, stream->held.front().task, [&](DeviceQueue& queue) {
      queue.call([this] {
        const std::lock_guard lock(shared_.bell_mutex);
        ring();
      });
      return true;
    });
  }
}

std::vector<std::pair<const DeviceQueue*, uint64_t>> Executor::marks() const {
  std::vector<std::pair<const DeviceQueue*, uint64_t>> marks;
  for (const Share* share : shares_) {
    if (share == nullptr) continue;
    for (const auto& stream : share->streams) {
      if (DeviceQueue* queue = stream->device_stream.queue()) marks.emplace_back(queue, queue->mark());
    }
  }
  return marks;
}

}  // namespace troupe
