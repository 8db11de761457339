#include "actors/engine/thread_runner.h"

namespace troupe {
namespace {

constexpr double kSlice = 0.01;  // seconds between looks whether it is over

}  // namespace

ThreadRunner::ThreadRunner(Engine& engine) : engine_(engine) {
  for (int i = 0; i < engine.executors(); ++i) bells_.push_back(std::make_unique<Bell>());
  engine_.set_bell([this](int index) {
    Bell& bell = *bells_[static_cast<size_t>(index)];
    {
      const std::lock_guard lock(bell.mutex);
      bell.rings = true;
    }
    bell.rung.notify_one();
  });
  for (int i = 0; i < engine.executors(); ++i) threads_.emplace_back([this, i] { serve(i); });
}

ThreadRunner::~ThreadRunner() {
  engine_.stop();
  for (const auto& bell : bells_) {
    {
      const std::lock_guard lock(bell->mutex);
      bell->over = true;
    }
    bell->rung.notify_one();
  }
  for (std::thread& thread : threads_) thread.join();
  engine_.set_bell(nullptr);
}

void ThreadRunner::serve(int index) {
  Bell& bell = *bells_[static_cast<size_t>(index)];
  Executor::Outcome outcome = Executor::Outcome::sleep;
  for (;;) {
    {
      std::unique_lock lock(bell.mutex);
      if (outcome == Executor::Outcome::sleep) bell.rung.wait(lock, [&] { return bell.rings || bell.over; });
      if (bell.over) return;
      bell.rings = false;
    }
    outcome = engine_.executor(index).run(kSlice);
  }
}

}  // namespace troupe
