#include "actors/engine/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <ctime>

namespace troupe {

// Not FUTEX_PRIVATE_FLAG: waiter and waker may be in different processes.
void Doorbell::wait(double at_most_s) {
  timespec time{};
  time.tv_sec = static_cast<time_t>(at_most_s);
  time.tv_nsec = static_cast<long>((at_most_s - std::floor(at_most_s)) * 1e9);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&awake_), FUTEX_WAIT, 0, &time, nullptr, 0);
}

void Doorbell::wake() { syscall(SYS_futex, reinterpret_cast<uint32_t*>(&awake_), FUTEX_WAKE, 1, nullptr, nullptr, 0); }

}  // namespace troupe
