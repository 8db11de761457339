// LAMB (You et al. 2020): Adam's direction with weight decay, taken as far as the norms of parameter and direction say.

#include <algorithm>
#include <cmath>

#include "ops/cpu/optimizer.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/optimizer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

enum Operand : int { kP = 0, kG = 1, kGradientScale = 2, kAllowed = 3, kStep = 4, kFirstMoment = 5, kSecondMoment = 6 };

std::vector<TensorType> infer_lamb(const OpArgs& args) {
  expect_operands(args, kSecondMoment + 1);
  expect_float(args, kP, "p");
  for (auto [operand, name] : {std::pair<int, const char*>{kG, "g"}, {kFirstMoment, "m"}, {kSecondMoment, "v"}}) {
    expect_same_type(args, kP, "p", operand, name);
  }
  expect_float_scalar(args, kGradientScale, "scale");
  expect_float_scalar(args, kAllowed, "ok");
  expect_step(args, kStep);
  return {3, args.inputs[kP]};
}

std::string lamb_rule(const OpArgs& args) {
  const std::string p = dim_names(args.rank(kP));
  return p + ", " + p + ", ., ., ., " + p + ", " + p + " -> " + p + ", " + p + ", " + p;
}

void lamb_cpu(const KernelArgs& args, Stream&) {
  start_from(args, {{1, kFirstMoment}, {2, kSecondMoment}});
  if (scalar_of(args.inputs[kAllowed]) == 0) {
    copy_unless_in_place(args.outputs[0], args.inputs[kG]);
    return;
  }
  const cpu::AdamOptions options{.beta1 = args.attrs->number("beta1", 0.9),
                                 .beta2 = args.attrs->number("beta2", 0.999),
                                 .eps = args.attrs->number("eps", 1e-6),
                                 .weight_decay = args.attrs->number("weight_decay", 0)};
  const TensorView& u = args.outputs[0];
  with_float(u.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::lamb<T>(u.as<T>(), args.outputs[1].as<T>(), args.outputs[2].as<T>(), args.inputs[kP].as<T>(),
                 args.inputs[kG].as<T>(), u.elements(), options, *args.inputs[kStep].as<int64_t>() + 1,
                 scalar_of(args.inputs[kGradientScale]));
  });
}

std::vector<TensorType> infer_rate(const OpArgs& args) {
  expect_operands(args, 3);
  expect_float_scalar(args, 0, "lr");
  expect_float_scalar(args, 1, "p_squares");
  expect_same_type(args, 1, "p_squares", 2, "u_squares");
  if (args.attrs.number("least") > args.attrs.number("most")) throw PlanError("least is above most");
  return {args.inputs[1]};
}

void rate_cpu(const KernelArgs& args, Stream&) {
  const double p = std::sqrt(scalar_of(args.inputs[1]));
  const double u = std::sqrt(scalar_of(args.inputs[2]));
  const double kept = std::clamp(p, args.attrs->number("least"), args.attrs->number("most"));
  const double ratio = p > 0 && u > 0 ? kept / u : 1.0;
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    *args.outputs[0].as<T>() = static_cast<T>(scalar_of(args.inputs[0]) * ratio);
  });
}

}  // namespace

OpDef lamb() {
  return {.name = "lamb",
          .inputs = {"p", "g", "scale", "ok", "step", "m", "v"},
          .outputs = {"u", "m", "v"},
          .doc =
              "The direction u of LAMB and its moments for the gradient g * scale, after `step` updates: u = m / "
              "(1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay p; m and v stay where ok is 0.",
          .rule_of = lamb_rule,
          .infer = infer_lamb,
          .cpu = lamb_cpu,
          .in_place = {{0, kG}},
          .updates = {{1, kFirstMoment}, {2, kSecondMoment}}};
}

OpDef lamb_rate() {
  return {
      .name = "lamb_rate",
      .inputs = {"lr", "p_squares", "u_squares"},
      .outputs = {"rate"},
      .doc = "rate = lr min(max(|p|, least), most) / |u| from the squares of both norms; lr where one of them is 0.",
      .rule = "., ., . -> .",
      .infer = infer_rate,
      .cpu = rate_cpu};
}

}  // namespace troupe::define
