#include "actors/engine/engine_pause.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace troupe {

Engine::Pause::Pause(Engine& engine, double at_most_s) : engine_(engine) {
  if (engine_.pauses_++ == 0) lock(at_most_s);
  const auto& locks = engine_.locks_;
  if (!std::all_of(locks.begin(), locks.end(), [](const auto& each) { return each.owns_lock(); })) return;
  for (const auto& executor : engine_.executors_) executor->poll();  // nothing stays under way
}

Engine::Pause::~Pause() {
  if (--engine_.pauses_ > 0) return;
  engine_.shared_.release(Shared::kPaused);
  engine_.locks_.clear();  // who gets a mutex now sees that nothing holds it, or is rung
  engine_.wake();
}

void Engine::Pause::lock(double at_most_s) {
  engine_.shared_.hold(Shared::kPaused);
  const double until = engine_.clock_.now() + at_most_s;
  const auto in_time = [&] {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    return engine_.clock_.now() < until;
  };
  for (const auto& executor : engine_.executors_) {
    std::unique_lock one(executor->mutex(), std::try_to_lock);
    while (!one.owns_lock() && in_time()) one.try_lock();
    if (one.owns_lock()) {
      auto left = executor->marks();
      const auto passed = [](const auto& mark) { return mark.first->has_passed(mark.second); };
      while (std::erase_if(left, passed), !left.empty()) {
        if (in_time()) continue;
        one.unlock();
        break;
      }
    }
    engine_.locks_.push_back(std::move(one));
  }
}

}  // namespace troupe
