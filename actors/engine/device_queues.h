// The queues into which streams of a backend's devices put their kernels.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "runtime/device/backend.h"
#include "runtime/plan/plan.h"

namespace troupe {

// Plans run one after another, so streams of the same name on the same device share a queue. Not thread-safe.
class DeviceQueues {
 public:
  explicit DeviceQueues(DeviceBackend& backend) : backend_(backend) {}

  // Null for a stream that runs on the host: sources are read there. FaultError.
  DeviceQueue* find(const Plan& plan, StreamId stream);
  // A plan goes. Nothing is in the queues.
  void forget();

 private:
  DeviceBackend& backend_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<DeviceQueue>> queues_;  // by names of device and stream
};

}  // namespace troupe
