// The stage `copy_sources`: what sources have read goes into devices' own memory.
#pragma once

#include "planner/program.h"

namespace troupe {

// With `choices.copies_sources`, each source is followed by a task of its device that copies what it has read, once per
// piece, and everything reads the copy.
Program copy_sources(const Program& program, const Choices& choices);

}  // namespace troupe
