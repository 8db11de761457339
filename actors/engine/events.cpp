#include "actors/engine/events.h"

#include <algorithm>
#include <bit>

#include "runtime/base/random.h"

namespace troupe {

void Events::at(double when, uint64_t label, std::function<void()> what) {
  queue_.emplace(std::pair(std::max(when, now()), number_++), Event{label, std::move(what)});
}

void Events::step() {
  const auto first = queue_.begin();
  clock_.advance_to(std::max(now(), first->first.first));
  const Event event = std::move(first->second);
  queue_.erase(first);
  ++count_;
  log_ = mix64(mix64(log_, std::bit_cast<uint64_t>(now())), event.label);
  event.what();
}

void Events::run_until(double when) {
  while (!empty() && next() <= when) step();
  clock_.advance_to(std::max(now(), when));
}

}  // namespace troupe
