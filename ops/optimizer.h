// What the optimizers' updates share: operands (p, g, lr, scale, ok, ..) and a step that may be refused.
#pragma once

#include "ops/op.h"

namespace troupe {

// The operands that every update has: the gradient is multiplied by `scale`; with ok = 0 nothing changes.
enum UpdateOperand : int { kParameter = 0, kGradient = 1, kLr = 2, kScale = 3, kOk = 4 };

// Throws PlanError when the first five operands, or those of `state`, do not fit the parameter.
void expect_update(const OpArgs& args, std::initializer_list<std::pair<int, const char*>> state);
// An i64 scalar.
void expect_step(const OpArgs& args, int operand);

// A float scalar, such as a learning rate.
void expect_float_scalar(const OpArgs& args, int operand, const char* name);

// The value of a float scalar.
double scalar_of(const TensorView& view);

// Outputs are the next versions of inputs; one that does not have its input's memory takes a copy of it.
void start_from(const KernelArgs& args, std::initializer_list<std::pair<int, int>> updates);

}  // namespace troupe
