#include "actors/engine/exchange_thread.h"

namespace troupe {
namespace {

constexpr double kNap = 0.1;      // links are looked at as often
constexpr double kRest = 100e-6;  // while executors assist; a kernel may have begun meanwhile

}  // namespace

ExchangeThread::ExchangeThread(Exchange& exchange, double spin_s)
    : exchange_(exchange), thread_([this, spin_s] { serve(spin_s); }) {}

ExchangeThread::~ExchangeThread() {
  over_.store(true);
  exchange_.wake();
  thread_.join();
}

void ExchangeThread::serve(double spin_s) {
  const SteadyClock clock;
  for (double busy = clock.now(); !over_.load();) {
    const bool something = exchange_.progress();
    if (something) busy = clock.now();
    if (exchange_.is_assisted()) {
      exchange_.sleep(kRest, false);
    } else if (!something && clock.now() - busy < spin_s) {
      std::this_thread::yield();
    } else if (!something) {
      exchange_.sleep(kNap);
      busy = clock.now();
    }
  }
}

}  // namespace troupe
