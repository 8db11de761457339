// Queues of devices that compute on their own, without a device: what has been put into them happens in any order that they
// allow, drawn from a seed. A kernel takes a while: at its beginning its fresh outputs are filled with rubbish, at its end its
// inputs must be what they were. So a missing wait between queues shows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/device/queue.h"

namespace troupe {

// Not thread-safe. The queues live as long as this.
class SimulatedQueues {
 public:
  explicit SimulatedQueues(uint64_t seed);
  ~SimulatedQueues();

  DeviceQueue& make();
  // Something happens in a queue. False when nothing can.
  bool step();
  // A kernel has run.
  std::function<void(const KernelArgs&)> ran;
  // An input that changed while it was read.
  const std::optional<std::string>& wrong() const { return wrong_; }
  int64_t waits() const { return waits_; }  // that queues were told of
  // The nth next kernel that runs fails, and with it the device of its queue.
  void fail_kernel(int64_t nth) { until_failure_ = nth; }
  // Of the kernel that has failed: its key.
  std::optional<uint64_t> failed() const { return failed_; }
  // A mistake: from now on queues do not wait for one another.
  void ignore_waits() { ignores_waits_ = true; }

 private:
  class Queue;

  Random random_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::optional<std::string> wrong_;
  int64_t waits_ = 0;
  bool ignores_waits_ = false;
  int64_t until_failure_ = 0;
  std::optional<uint64_t> failed_;
};

}  // namespace troupe
