// What to recompute so that a plan fits its devices: a search outside of `compile` that tries choices and reads what
// their plans need.
#pragma once

#include <string>
#include <vector>

#include "planner/compile.h"

namespace troupe {

struct Fitted {
  Choices choices;  // as given, with more modules in `recompute`
  Compiled compiled;
  int compiles = 0;
};

// Adds modules, of those named, to `choices.recompute` until the plan fits `choices.memory_bytes`, at little predicted
// time; none where it fits as it is. A module below another one of the list is a part of it: a finer choice.
//
// The plan without them tells what each would save and cost. They are then taken in the order of bytes saved per
// second, of equal ones the earliest first, since what it keeps is held for longest; how many are needed is found by
// bisection on plans, and what a coarse last choice has made superfluous is dropped again. At most 16 + log2(modules)
// plans are compiled. Throws the PlanError of the plan that needs least when none fits: its need, as memory_bytes,
// does.
Fitted fit(const Graph& graph, const Choices& choices, const std::vector<std::string>& modules, const Profile& profile);

}  // namespace troupe
