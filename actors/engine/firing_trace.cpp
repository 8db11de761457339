#include "actors/engine/firing_trace.h"

#include <utility>

namespace troupe {

FiringTrace::FiringTrace(const Plan& plan, int64_t from, int64_t steps)
    : from_(from), until_(from + steps), waiting_(steps > 0 ? plan.streams.size() : 0) {}

void FiringTrace::restart() { waiting_.assign(waiting_.size(), {}); }

void FiringTrace::waits(StreamId stream, double now) {
  Waiting& waiting = waiting_[stream.index()];
  if (waiting.begun) return;
  waiting = {};
  waiting.begun = true;
  waiting.begin_s = now;
}

void FiringTrace::goes_on(StreamId stream, WaitsFor what, RegisterId reg, double now) {
  Waiting& waiting = waiting_[stream.index()];
  if (!waiting.begun) return;  // it waits since before this was begun
  waiting.what = what;
  waiting.reg = reg;
  waiting.end_s = now;
}

void FiringTrace::add(StreamId stream, TracedFiring firing) {
  const Waiting waited = std::exchange(waiting_[stream.index()], {});
  if (!keeps(firing.step)) return;
  if (waited.begun && waited.end_s - waited.begin_s >= kShortestWait) {
    firing.waited_for = waited.what;
    firing.waited_reg = waited.reg;
    firing.wait_begin_s = waited.begin_s;
    firing.wait_end_s = waited.end_s;
  }
  firings_.push_back(firing);
}

}  // namespace troupe
