// The stage `offload`: what a module keeps for its backward pass waits in host memory.
#pragma once

#include "planner/program.h"

namespace troupe {

// Takes what nodes below `choices.offload` make per piece and the backward pass reads: after its last use in the forward
// pass it is copied to the host beside its device, and back before the backward pass first reads it. Both copies are
// boxing from one mesh to another of the same axes, device by device. Needs `choices.hosts`. In a pipeline
// such a value has one slot on its device, whose memory the rest of its turn uses again, and on the host one for each
// piece under way. When they run beside the computation is for `hide_copies`. Throws PlanError for a module that keeps
// nothing.
Program offload(const Program& program, const Choices& choices);

}  // namespace troupe
