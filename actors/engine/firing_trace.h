// Keeps the firings of some steps one by one, with what each one's stream waited for before it. One executor's.
#pragma once

#include <vector>

#include "actors/engine/observe.h"
#include "runtime/plan/plan.h"

namespace troupe {

// Used by one executor; read while nothing runs. Times are seconds of the engine's clock.
class FiringTrace {
 public:
  // Of the steps from `from` on, so many; none when it is 0.
  FiringTrace(const Plan& plan, int64_t from, int64_t steps);

  bool any() const { return until_ > from_; }
  void restart();
  // A stream cannot go on. One that waited already still does.
  void waits(StreamId stream, double now);
  // It can: what it lacked has come. It may wait again before it fires, for something else; the last one counts.
  void goes_on(StreamId stream, WaitsFor what, RegisterId reg, double now);
  // Whether firings of the step are kept.
  bool keeps(int64_t step) const { return step >= from_ && step < until_; }
  // It has fired; `firing` says all but the wait.
  void add(StreamId stream, TracedFiring firing);

  const std::vector<TracedFiring>& firings() const { return firings_; }

 private:
  struct Waiting {
    bool begun = false;
    WaitsFor what = WaitsFor::nothing;
    RegisterId reg;
    double begin_s = 0;
    double end_s = 0;
  };

  int64_t from_;
  int64_t until_;
  std::vector<Waiting> waiting_;  // by stream
  std::vector<TracedFiring> firings_;
};

}  // namespace troupe
