#include "actors/engine/thread_runner.h"

namespace troupe {
namespace {

constexpr double kSlice = 0.01;  // seconds of work between looks whether it is over
constexpr double kNap = 1;       // and of sleep

}  // namespace

ThreadRunner::ThreadRunner(Engine& engine) : engine_(engine) {
  Exchange* exchange = engine.exchange();
  engine_.set_bell([this, exchange](int index) {
    if (exchange != nullptr && exchange->is_far(index)) {
      exchange->wake();
    } else {
      engine_.doorbell(index).wake();
    }
  });
  if (exchange != nullptr) {
    exchange->wake_executor = [this](int index) { engine_.doorbell(index).wake(); };
    exchange_ = std::make_unique<ExchangeThread>(*exchange);
  }
  const ExecutorRange own = engine.own();
  for (int i = own.first; i < own.first + own.count; ++i) threads_.emplace_back([this, i] { serve(i); });
}

ThreadRunner::~ThreadRunner() {
  engine_.stop();
  engine_.resume();  // nobody else can any more
  over_.store(true);
  engine_.wake();
  for (std::thread& thread : threads_) thread.join();
  exchange_.reset();
  engine_.set_bell(nullptr);
}

void ThreadRunner::serve(int index) {
  while (!over_.load()) {
    if (engine_.executor(index).run(kSlice) == Executor::Outcome::again) continue;
    // It has said that it sleeps, so whoever says from now on that it is over wakes it.
    if (!over_.load()) engine_.doorbell(index).wait(kNap);
  }
}

}  // namespace troupe
