// What an op costs on a device, as the profile has it.
#pragma once

#include "ops/op.h"
#include "runtime/base/profile.h"

namespace troupe {

// The time of one firing on operands of these local types, which reads and writes so many bytes: the work or the memory
// traffic, whichever takes longer. Products of bf16 and f16 have a rate of their own.
double op_seconds(const OpDef& op, const OpArgs& args, double bytes, const Profile& profile);

}  // namespace troupe
