// When firings ran on devices that compute on their own, for a trace: what their executor sees is when they were put into a
// queue.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "actors/engine/observe.h"
#include "runtime/base/clock.h"
#include "runtime/device/queue.h"

namespace troupe {

// Used by one executor; made, and read, while nothing runs.
class DeviceTimes {
 public:
  // The queues by stream: null for those that run on the host, or elsewhere. They are empty. FaultError.
  DeviceTimes(std::vector<DeviceQueue*> queues, const Clock& clock);

  // Before a firing of the stream is put into its queue. FaultError.
  void begin(StreamId stream);
  // Behind it. Once for each firing of a trace, in its order. FaultError.
  void end(StreamId stream);
  // The trace with the times at which firings ran. What one waited for is kept where its device then stood still. When a
  // device has failed, what its executor saw is all that is known.
  std::vector<TracedFiring> put_into(std::vector<TracedFiring> firings) const;

 private:
  // A stamp of a queue, and when it was by the clock.
  struct Base {
    std::unique_ptr<DeviceStamp> stamp;
    double at = 0;
  };
  struct Firing {
    const Base* base = nullptr;  // null: it ran on the host
    std::unique_ptr<DeviceStamp> begin;
    std::unique_ptr<DeviceStamp> end;
  };

  const std::vector<DeviceQueue*> queues_;
  std::map<const DeviceQueue*, Base> bases_;  // of those that keep time
  std::unique_ptr<DeviceStamp> begun_;
  std::vector<Firing> firings_;
};

}  // namespace troupe
