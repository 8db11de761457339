// What was traced of a plan, as Python values.
#pragma once

#include <vector>

#include "actors/engine/observe.h"
#include "actors/engine/runner.h"
#include "python/bindings/bindings.h"
#include "runtime/plan/plan.h"

namespace troupe::python {

// {"devices": [(name, worker; -1: this process), ...], "streams": [(name, device), ...],
//  "tasks": [(name, kernel, stream, {device: bytes that a firing receives from it}), ...],
//  "firings": [(task, step, round, begin_s, end_s, wait, live_most, live_after), ...], "peak_bytes": [by device]}
// where devices, streams and tasks are indices into these lists, and a wait is None or (for what, begin_s, end_s).
nb::dict timeline_of(const Plan& plan, const Observations& seen, const std::vector<WorkerState>& workers);

}  // namespace troupe::python
