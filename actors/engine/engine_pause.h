// What an engine does while it changes what its executors own.
#pragma once

#include "actors/engine/engine.h"

namespace troupe {

// While one lives, no firing begins, none runs, nothing is in a device's queue unless a device has failed, and what executors
// own may be changed.
// Executors whose kernels run are waited for, at most so long. Within another one, it only takes what has come in since.
class Engine::Pause {
 public:
  explicit Pause(Engine& engine, double at_most_s = 1e9);
  ~Pause();
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  // False for one whose kernels, here or in a queue, have not ended in time.
  bool has(int executor) const {
    return engine_.locks_[static_cast<size_t>(executor - engine_.own_.first)].owns_lock();
  }

 private:
  void lock(double at_most_s);
  void wait_for_queues(const std::function<bool()>& in_time);

  Engine& engine_;
};

}  // namespace troupe
