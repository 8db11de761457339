// How many bytes of the workspace live together on each device.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/plan/plan.h"

namespace troupe {

// Per device: the most bytes of the workspace that live at one time, slots and the scratch of the task that runs, as the
// engine counts them. A slot lives from the beginning of the firing that writes it until its producer has heard from all
// readers; an output that takes over an input's place counts once. What one stream writes and reads lives as long as the
// stream's order says; a slot that another stream reads counts always (runtime/plan/kept_bytes.h). So the number is the same
// in every run, and at most the workspace.
std::vector<int64_t> peak_bytes(const Plan& plan);

}  // namespace troupe
