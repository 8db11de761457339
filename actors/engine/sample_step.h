// Plans that look like training, for runs over several processes: few tasks, but every kind of dependency of a step.
#pragma once

#include <cstdint>
#include <memory>

#include "actors/engine/feed.h"
#include "actors/engine/loaded_plan.h"
#include "runtime/plan/plan.h"

namespace troupe {

// One step: "forward0" .. through all devices and "backward4" .. back, two pieces, gradients accumulated over them;
// "sum0" .. over all devices, and "update0" .. of a variable per device, in place. Sources read "tokens" ahead.
Plan sample_step(int devices);
// "evaluate0" .. through all devices, in the same workspace; each reads the variable of the next device. No sources.
Plan sample_evaluation(int devices);

// So many batches of "tokens", others for another key, and what reads them.
std::shared_ptr<Feed> sample_feed(uint64_t key, int64_t steps);
SourceMap sources_of(const std::shared_ptr<Feed>& feed);

}  // namespace troupe
