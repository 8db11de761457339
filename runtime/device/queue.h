// A queue of a device that computes on its own, as a GPU's stream: what is put into it runs later, in order, after what it
// was told to wait for. Nothing here waits on the host.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "runtime/device/kernel.h"

namespace troupe {

// When a queue has come somewhere, by the device's clock.
class DeviceStamp {
 public:
  virtual ~DeviceStamp() = default;
  // Since one of a queue of the same device. Both queues have come so far. To half a microsecond, and to 2^-24 of the result.
  // FaultError.
  virtual double seconds_since(const DeviceStamp& earlier) const = 0;
};

// A queue is used by one thread at a time, but for `has_passed`, and for being waited for by other queues.
//
// Every member may throw FaultError: what was put could not be, or the device has failed. Of a device that has failed nothing
// runs any more, and other queues may wait for it for ever.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;

  // `args` are read before this returns; what they point at must stay until the kernel has run. The queue may wait with it
  // until the next call of another member, or hand it to the device with others as one, where the same was launched before.
  virtual void launch(Kernel kernel, const KernelArgs& args) = 0;
  // Says where the queue is now: behind everything put so far. Marks count up from 1.
  virtual uint64_t mark() = 0;
  // Whether everything before the mark has run.
  virtual bool has_passed(uint64_t mark) const = 0;
  // What is put from now on runs after the other queue, perhaps of another device, has passed a mark that it has.
  virtual void wait_for(const DeviceQueue& other, uint64_t mark) = 0;
  // By some thread, once everything put so far has run, or never will. Must not block, nor use the queue.
  virtual void call(std::function<void()> what) = 0;
  // When everything put so far will have run. Null where the device keeps no time.
  virtual std::unique_ptr<DeviceStamp> stamp() { return nullptr; }
  // Nothing is in the queue, and the attributes that were launched with may be gone: what is launched from now on is new.
  virtual void forget() {}
};

}  // namespace troupe
