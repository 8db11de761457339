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
    engine_.locks_.push_back(std::move(one));
  }
  wait_for_queues(in_time);
}

// Asks all of them in turn: one may wait for another that has failed.
void Engine::Pause::wait_for_queues(const std::function<bool()>& in_time) {
  using Mark = std::pair<const DeviceQueue*, uint64_t>;
  std::vector<std::pair<size_t, Mark>> left;  // by executor
  try {
    for (size_t e = 0; e < engine_.executors_.size(); ++e) {
      if (!engine_.locks_[e].owns_lock()) continue;
      for (const Mark& mark : engine_.executors_[e]->marks()) left.emplace_back(e, mark);
    }
    const auto passed = [](const auto& each) { return each.second.first->has_passed(each.second.second); };
    while (std::erase_if(left, passed), !left.empty()) {
      if (in_time()) continue;
      for (const auto& [e, mark] : left) {
        if (engine_.locks_[e].owns_lock()) engine_.locks_[e].unlock();
      }
      return;
    }
  } catch (const FaultError&) {
    // A device has failed: nothing of it runs any more, and whatever waits for it never will. The run is told by executors.
  }
}

}  // namespace troupe
