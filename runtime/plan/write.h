// Writing a plan. The format is described in plan.capnp.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/plan/plan.h"

namespace troupe {

// Equal plans give equal bytes, on every machine.
std::vector<std::byte> serialize(const Plan& plan);

// Writes beside `path` first and renames, so that no reader sees half a plan. Throws FaultError.
void write_plan(const Plan& plan, const std::string& path);

}  // namespace troupe
