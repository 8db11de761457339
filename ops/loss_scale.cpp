// Dynamic loss scaling: the scale halves when gradients overflow and doubles after many steps without.

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/optimizer.h"

namespace troupe::define {
namespace {

enum Operand : int { kLossScale = 0, kGoodSteps = 1, kLoss = 2, kNorm = 3 };

std::vector<TensorType> infer_update(const OpArgs& args) {
  expect_operands(args, kNorm + 1);
  for (auto [operand, name] : {std::pair{kLossScale, "scale"}, {kLoss, "loss"}, {kNorm, "norm"}}) {
    expect_float(args, operand, name);
    expect_scalar(args, operand, name);
  }
  expect_step(args, kGoodSteps);
  for (const char* name : {"growth", "backoff", "floor"}) args.attrs.number(name);
  args.attrs.integer("interval");
  return {args.inputs[kLossScale], args.inputs[kGoodSteps]};
}

struct State {
  double scale;
  int64_t good_steps;
};

// As torch.amp.GradScaler, except that there is a floor, and that a loss which is not finite itself changes nothing: no
// scale makes it finite. `largest`: beyond which the scale does not grow.
State next(const State& state, double loss, double norm, const Attrs& attrs, double largest) {
  if (!std::isfinite(loss)) return state;
  if (!std::isfinite(norm)) {
    return {std::min(state.scale, std::max(state.scale * attrs.number("backoff"), attrs.number("floor"))), 0};
  }
  if (state.good_steps + 1 < attrs.integer("interval")) return {state.scale, state.good_steps + 1};
  const double grown = state.scale * attrs.number("growth");
  return {grown <= largest ? grown : state.scale, 0};
}

void update_cpu(const KernelArgs& args, Stream&) {
  const TensorView& scale = args.outputs[0];
  const State old = {scalar_of(args.inputs[kLossScale]), *args.inputs[kGoodSteps].as<int64_t>()};
  with_float(scale.dtype, [&](auto zero) {
    using T = decltype(zero);
    const State state = next(old, scalar_of(args.inputs[kLoss]), scalar_of(args.inputs[kNorm]), *args.attrs,
                             static_cast<double>(std::numeric_limits<T>::max()));
    *scale.as<T>() = static_cast<T>(state.scale);
    *args.outputs[1].as<int64_t>() = state.good_steps;
  });
}

}  // namespace

OpDef loss_scale_update() {
  return {.name = "loss_scale_update",
          .inputs = {"scale", "good_steps", "loss", "norm"},
          .outputs = {"scale", "good_steps"},
          .doc =
              "scale * backoff, but not below floor, where norm is not finite; scale * growth where that was finite "
              "`interval` steps in a row, which good_steps counts; nothing changes where loss is not finite.",
          .rule = "., ., ., . -> ., .",
          .infer = infer_update,
          .cpu = update_cpu,
          .updates = {{0, kLossScale}, {1, kGoodSteps}}};
}

}  // namespace troupe::define
