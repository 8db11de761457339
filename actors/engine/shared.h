// What all executors of an engine share.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>

#include "runtime/base/error.h"

namespace troupe {

// Thread-safe but for `bell` and `changed`, which are set while no executor runs.
class Shared {
 public:
  // Reasons why no firing may begin.
  static constexpr int kPaused = 1;
  static constexpr int kFailed = 2;

  // Read before every firing.
  bool held() const { return hold_.load(std::memory_order_relaxed) != 0; }
  void hold(int reason) { hold_.fetch_or(reason); }
  void release(int reason) { hold_.fetch_and(~reason); }

  // The first fault counts; it stops every executor and wakes the driver.
  void raise(Fault fault) {
    {
      const std::lock_guard lock(mutex_);
      if (!fault_) fault_ = std::move(fault);
    }
    hold(kFailed);
    tell();
  }
  std::optional<Fault> fault() const {
    const std::lock_guard lock(mutex_);
    return fault_;
  }
  void forgive() {
    const std::lock_guard lock(mutex_);
    fault_.reset();
    release(kFailed);
  }

  // An executor has reached the limit of its streams.
  void reached() {
    { const std::lock_guard lock(mutex_); }  // so that it does not fall between the driver's look and its sleep
    tell();
  }
  // Until `done()`, a fault, or the time is up.
  template <class Done>
  void wait_for(double seconds, Done&& done) {
    std::unique_lock lock(mutex_);
    changed_here_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return fault_ || done(); });
  }

  std::function<void(int)> bell;  // wakes the thread of an executor
  std::mutex bell_mutex;          // held by whoever sets it, and by devices' queues that ring: these may be late
  std::function<void()> changed;  // tells a driver elsewhere

 private:
  void tell() {
    changed_here_.notify_all();
    if (changed) changed();
  }

  std::atomic<int> hold_{0};
  mutable std::mutex mutex_;
  std::condition_variable changed_here_;
  std::optional<Fault> fault_;
};

}  // namespace troupe
