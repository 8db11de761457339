// Plans for tests: a small one made by hand and random ones. Both are valid.
#pragma once

#include <cstdint>

#include "runtime/plan/plan.h"

namespace troupe {

// One device, two streams: a source, forward, an accumulator over two rounds, and an update of one variable.
Plan small_plan();

// A chain of layers per device with every kind of register, attribute and field in use; about `tasks` tasks.
Plan random_plan(uint64_t seed, int tasks);

}  // namespace troupe
