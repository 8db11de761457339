// What tasks tell each other across queues of devices (runtime/device/queue.h): there a firing is put into a queue, not run,
// when its task tells others of it.
//
//   on one queue         nothing more: it runs in order
//   from queue to queue  the message goes at once; the reader's queue waits for a mark on the sender's
//   from queue to host   the message goes once the queue has passed the mark: to tasks without a queue, other processes,
//                        the driver
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "actors/engine/ports.h"
#include "actors/engine/task_actor.h"
#include "runtime/plan/plan.h"

namespace troupe {

class DeviceEdges {
 public:
  DeviceEdges() = default;
  // Tells the actors of this process (by task; null when elsewhere) which of their messages cross queues. Streams are made.
  DeviceEdges(const Plan& plan, const Ports& ports, const std::vector<TaskActor*>& actors);
  // All marks are of before the first firing. Nothing is in a queue.
  void restart();

 private:
  DeviceMark* marks(int32_t slots);

  struct Marks {
    std::unique_ptr<DeviceMark[]> of;
    int32_t count;
  };
  std::vector<Marks> marks_;
};

}  // namespace troupe
