#include "actors/engine/exchange_thread.h"

#include <exception>

namespace troupe {
namespace {

constexpr double kNap = 0.1;  // links are looked at as often

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
  const auto progress = [this] {
    try {
      return exchange_.progress();
    } catch (const std::exception& error) {
      exchange_.fail(error.what());
      return false;
    }
  };
  for (double busy = clock.now(); !over_.load();) {
    if (progress()) {
      busy = clock.now();
    } else if (clock.now() - busy < spin_s) {
      std::this_thread::yield();
    } else {
      exchange_.sleep(kNap);
      busy = clock.now();
    }
  }
}

}  // namespace troupe
