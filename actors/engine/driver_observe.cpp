// What the driver knows of its workers, and has them record.

#include <algorithm>
#include <vector>

#include "actors/engine/driver.h"
#include "actors/engine/observer.h"

namespace troupe {
namespace {

constexpr int kClockExchanges = 5;

}  // namespace

void Driver::observe(PlanHandle handle, const Observe& what) {
  Loaded& loaded = find(handle);
  check_not_running("change what is recorded");
  check_up();
  if (what.live_bytes) loaded.life.fresh = true;
  ask_or_end(SetObserved{handle.value, what}, 0,
             "what is recorded of plan '" + loaded.life.plan().name + "' was not changed by all workers");
}

Observations Driver::observations(PlanHandle handle) {
  const Plan& of = plan(handle);
  check_up();
  ask(GetObserved{handle.value});
  const std::vector<Crew::Observed> parts = crew_.observed();
  const bool traced =
      std::any_of(parts.begin(), parts.end(), [](const auto& part) { return !part.seen.trace.empty(); });
  const std::vector<ClockOffset> ahead = traced ? compare_clocks() : std::vector<ClockOffset>();
  Observations all;
  for (const Crew::Observed& part : parts) {
    Observations seen = part.seen;
    if (traced) set_back(seen, ahead[static_cast<size_t>(part.worker)].seconds());
    merge(all, seen, of);
  }
  return all;
}

// By worker.
std::vector<ClockOffset> Driver::compare_clocks() {
  std::vector<ClockOffset> offsets(crew_.members().size());
  for (int exchange = 0; exchange < kClockExchanges; ++exchange) {
    const double sent = clock_.now();
    ask(GetTime{});
    for (const Crew::Time& time : crew_.times()) {
      offsets[static_cast<size_t>(time.worker)].add(sent, time.there, time.heard);
    }
  }
  return offsets;
}

std::vector<WorkerState> Driver::workers() const {
  std::vector<WorkerState> all;
  for (const Crew::Member& member : crew_.members()) {
    all.push_back({member.host, member.process, member.share.devices, member.joined, member.heard, member.gone});
  }
  return all;
}

}  // namespace troupe
