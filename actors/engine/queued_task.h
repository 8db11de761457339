// What a task whose kernels are put into a device's queue has beside its credits (device_edges.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "runtime/device/queue.h"

namespace troupe {

// A mark on a device's queue, by the slot of a register that a message is about; 0: none.
using DeviceMark = std::atomic<uint64_t>;

struct QueuedTask {
  // How a message goes.
  struct Edge {
    enum class Way : uint8_t { direct, marked, held };
    Way way = Way::direct;
    DeviceMark* marks = nullptr;  // to be set before; of `marked`
  };
  // A mark on another queue to wait for, when the first firing with a version is put into the own one.
  struct Awaited {
    const DeviceQueue* queue;
    const DeviceMark* marks;
    int32_t port;  // of the credits
    bool of_output;
  };
  std::vector<Edge> ready;  // to each reader
  std::vector<Edge> freed;  // to the producer of each input
  std::vector<Awaited> awaited;
};

}  // namespace troupe
