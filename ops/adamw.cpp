#include "ops/cpu/optimizer.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/optimizer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

constexpr int kStep = 5;
constexpr int kFirstMoment = 6;
constexpr int kSecondMoment = 7;

std::vector<TensorType> infer_adamw(const OpArgs& args) {
  expect_operands(args, kSecondMoment + 1);
  expect_update(args, {{kFirstMoment, "m"}, {kSecondMoment, "v"}});
  expect_step(args, kStep);
  return {3, args.inputs[kParameter]};
}

std::string adamw_rule(const OpArgs& args) {
  const std::string p = dim_names(args.rank(kParameter));
  return p + ", " + p + ", ., ., ., ., " + p + ", " + p + " -> " + p + ", " + p + ", " + p;
}

void adamw_cpu(const KernelArgs& args, Stream&) {
  start_from(args, {{0, kParameter}, {1, kFirstMoment}, {2, kSecondMoment}});
  if (scalar_of(args.inputs[kOk]) == 0) return;
  const cpu::AdamOptions options{.lr = scalar_of(args.inputs[kLr]),
                                 .beta1 = args.attrs->number("beta1", 0.9),
                                 .beta2 = args.attrs->number("beta2", 0.999),
                                 .eps = args.attrs->number("eps", 1e-8),
                                 .weight_decay = args.attrs->number("weight_decay", 0),
                                 .decoupled = args.attrs->integer("decoupled", 1) != 0};
  const TensorView& p = args.outputs[0];
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::adamw<T>(p.as<T>(), args.outputs[1].as<T>(), args.outputs[2].as<T>(), args.inputs[kGradient].as<T>(),
                  p.elements(), options, *args.inputs[kStep].as<int64_t>() + 1, scalar_of(args.inputs[kScale]));
  });
}

}  // namespace

OpDef adamw() {
  return {.name = "adamw",
          .inputs = {"p", "g", "lr", "scale", "ok", "step", "m", "v"},
          .outputs = {"p", "m", "v"},
          .doc =
              "One update of torch.optim.AdamW (decoupled=0: Adam) with the gradient g * scale, after `step` "
              "updates; nothing changes where ok is 0.",
          .rule_of = adamw_rule,
          .infer = infer_adamw,
          .cpu = adamw_cpu,
          .updates = {{0, kParameter}, {1, kFirstMoment}, {2, kSecondMoment}}};
}

}  // namespace troupe::define
