#include "ops/cpu/optimizer.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/optimizer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

// A direction that was made from the whole tensor's norm, sums or products is applied apart from what made it.
enum Operand : int { kP = 0, kDirection = 1, kLearningRate = 2, kRate = 3, kAllowed = 4 };

std::vector<TensorType> infer_apply(const OpArgs& args) {
  expect_operands(args, kAllowed + 1);
  expect_float(args, kP, "p");
  expect_same_type(args, kP, "p", kDirection, "u");
  for (auto [operand, name] : {std::pair<int, const char*>{kLearningRate, "lr"}, {kRate, "rate"}, {kAllowed, "ok"}}) {
    expect_float_scalar(args, operand, name);
  }
  return {args.inputs[kP]};
}

std::string apply_rule(const OpArgs& args) {
  const std::string p = dim_names(args.rank(kP));
  return p + ", " + p + ", ., ., . -> " + p;
}

void apply_cpu(const KernelArgs& args, Stream&) {
  start_from(args, {{0, kP}});
  if (scalar_of(args.inputs[kAllowed]) == 0) return;
  const double shrink = 1.0 - scalar_of(args.inputs[kLearningRate]) * args.attrs->number("weight_decay", 0);
  const TensorView& p = args.outputs[0];
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::apply_update<T>(p.as<T>(), args.inputs[kDirection].as<T>(), p.elements(), shrink,
                         scalar_of(args.inputs[kRate]));
  });
}

}  // namespace

OpDef apply_update() {
  return {.name = "apply_update",
          .inputs = {"p", "u", "lr", "rate", "ok"},
          .outputs = {"p"},
          .doc = "p (1 - lr weight_decay) - rate u; nothing changes where ok is 0.",
          .rule_of = apply_rule,
          .infer = infer_apply,
          .cpu = apply_cpu,
          .updates = {{0, kP}}};
}

}  // namespace troupe::define
