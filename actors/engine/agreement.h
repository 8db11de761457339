// Plans that are loaded together mean the same bytes by the same variable.
#pragma once

#include "actors/engine/loaded_plan.h"

namespace troupe {

// PlanError when the two are of different epochs, or a variable of `fresh` lies where `old`, which has it too, has no
// copy of that part.
void check_agree(const LoadedPlan& fresh, const LoadedPlan& old);

}  // namespace troupe
