// What a boxing step is predicted to take on one device: deduce chooses by it, shard writes it into the tasks.
#pragma once

#include "runtime/base/profile.h"
#include "sbp/boxing.h"

namespace troupe {

// Whether an all-reduce is one task per member, that adds all of the tensor, rather than two: one that adds a slice and
// one that joins the slices of all.
bool one_hop(const BoxingStep& step, const Shape& shape, DType dtype);

// The links' time, the copying within the device, and the cost of the firings.
double boxing_seconds(const BoxingStep& step, const Shape& shape, DType dtype, const Topology& topology,
                      const Profile& profile);

}  // namespace troupe
