// Time as an interface, so that a whole cluster can run under simulated time.
#pragma once

#include <chrono>

namespace troupe {

// Seconds since an arbitrary start. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual double now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  double now() const override {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
};

// Moves only when told to. Not thread-safe.
class SimulatedClock final : public Clock {
 public:
  double now() const override { return now_; }
  void advance_to(double now) { now_ = now; }

 private:
  double now_ = 0;
};

}  // namespace troupe
