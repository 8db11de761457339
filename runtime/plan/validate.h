// The checks a worker makes before it trusts a plan: that following it touches no memory outside the arenas,
// no entry outside the lists, and that tasks, registers and streams agree about how often everything happens.
//
// That no cycle lacks a token and no two live slots overlap is proved by the planner's certificate, not here.
#pragma once

#include <optional>
#include <string>

#include "runtime/plan/plan.h"

namespace troupe {

// The first flaw, with the device, stream, task, register, variable or output it is in; nothing when there is
// none. Never throws and takes any values whatever.
std::optional<std::string> flaw_in(const Plan& plan);

// Throws FaultError "ORIGIN cannot be run: FLAW".
void validate(const Plan& plan, const std::string& origin = "plan");

}  // namespace troupe
