// The thread of an exchange: it looks for work, for a short time without any in vain, then sleeps. It keeps out of the way of an
// executor that waits and looks itself.
#pragma once

#include <atomic>
#include <thread>

#include "actors/engine/exchange.h"
#include "runtime/base/clock.h"

namespace troupe {

class ExchangeThread {
 public:
  // The exchange outlives it.
  explicit ExchangeThread(Exchange& exchange, double spin_s = 50e-6);
  ~ExchangeThread();
  ExchangeThread(const ExchangeThread&) = delete;

 private:
  void serve(double spin_s);

  Exchange& exchange_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace troupe
