// For tests: waiting for a device's queue, though not for ever.
#pragma once

#include <chrono>
#include <stdexcept>

#include "runtime/device/queue.h"

namespace troupe {

// Polls, as executors do. Throws when nothing has come of it for a minute.
inline void wait_until_passed(const DeviceQueue& queue, uint64_t mark) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!queue.has_passed(mark)) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("a device's queue goes on no more");
  }
}

}  // namespace troupe
