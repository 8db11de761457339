// Says that an executor sleeps, and wakes its thread: in memory that all who send to it map (zeroed memory is the bell
// of one that sleeps).
#pragma once

#include <atomic>
#include <cstdint>

namespace troupe {

// The executor's thread calls the first three, anyone the others.
class alignas(128) Doorbell {
 public:
  void sleeps() { awake_.store(0, std::memory_order_seq_cst); }
  void is_awake() { awake_.store(1, std::memory_order_seq_cst); }
  // Until `wake`, or for about so long; at once when it is not said to sleep. Spurious returns are possible.
  void wait(double at_most_s);

  // True when it slept: the caller, and nobody else, has to wake its thread.
  bool rouse() {
    return awake_.load(std::memory_order_seq_cst) == 0 && awake_.exchange(1, std::memory_order_seq_cst) == 0;
  }
  // Wakes a thread that is in `wait`.
  void wake();

 private:
  std::atomic<uint32_t> awake_{0};  // the kernel looks at it too
};
static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(std::atomic<uint32_t>) == 4);

}  // namespace troupe
