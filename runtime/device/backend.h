// Devices that compute on their own, as GPUs do, behind a library that is loaded only where it is wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/device/kernel.h"
#include "runtime/device/queue.h"

namespace troupe {

struct DeviceInfo {
  std::string name;          // "NVIDIA H200"
  int64_t memory_bytes = 0;  // in all
  int64_t free_bytes = 0;    // when asked
};

// A block of memory that frees itself.
using DeviceMemory = std::shared_ptr<std::byte>;

// Thread-safe, but for the queues it makes. Outlives all that it has made.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;

  // Those that can be used, by index. Empty without a driver, or with one that is too old.
  virtual std::vector<DeviceInfo> devices() const = 0;
  // What was found: "2 CUDA devices: NVIDIA H200, ...; driver 13.0, runtime 13.0, cuBLASLt 13.1.0", or why there are none and
  // what helps.
  virtual std::string description() const = 0;

  // Zeroed. FaultError that names the device, what was wanted and what is free.
  virtual DeviceMemory allocate(int device, int64_t bytes) = 0;
  // Host memory that copies to and from devices can reach directly. Zeroed.
  virtual DeviceMemory allocate_pinned(int64_t bytes) = 0;
  // Of any memory to any, once nothing that was put into queues uses it; returns when it is done. FaultError.
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void fill_zero(void* to, int64_t bytes) = 0;

  virtual std::unique_ptr<DeviceQueue> make_queue(int device) = 0;
  // Of a device's memory, that each of its queues takes.
  virtual int64_t queue_bytes() const = 0;
  virtual void add_kernels(KernelTable& table) const = 0;
};

}  // namespace troupe
