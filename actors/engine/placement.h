// On which executor each stream of a plan runs.
#pragma once

#include <functional>
#include <vector>

#include "runtime/plan/plan.h"

namespace troupe {

// -1, or no function: devices are dealt out in blocks of about the same predicted work.
using PlaceOfStream = std::function<int(const Plan&, StreamId)>;

// By stream. A pure function, so that every process of a run finds the same.
std::vector<int> place_streams(const Plan& plan, int executors, const PlaceOfStream& place);

}  // namespace troupe
