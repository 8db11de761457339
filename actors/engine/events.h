// What is to happen when, under simulated time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "runtime/base/clock.h"

namespace troupe {

// Not thread-safe. The clock outlives it, and nobody else moves it past an event.
class Events {
 public:
  explicit Events(SimulatedClock& clock) : clock_(clock) {}

  double now() const { return clock_.now(); }
  // Of equal times, first come first served. The label only tells events apart in the log.
  void at(double when, uint64_t label, std::function<void()> what);
  bool empty() const { return queue_.empty(); }
  double next() const { return queue_.begin()->first.first; }  // when
  void step();
  // All events up to this time, and then it is this time.
  void run_until(double when);

  int64_t count() const { return count_; }  // that have happened
  uint64_t log() const { return log_; }     // a hash of what has happened when
 private:
  struct Event {
    uint64_t label;
    std::function<void()> what;
  };
  SimulatedClock& clock_;
  std::map<std::pair<double, int64_t>, Event> queue_;
  int64_t number_ = 0;
  int64_t count_ = 0;
  uint64_t log_ = 0;
};

}  // namespace troupe
