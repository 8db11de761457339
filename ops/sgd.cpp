#include "ops/cpu/optimizer.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/optimizer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

constexpr int kMomentum = 5;
constexpr int kStep = 6;

bool has(size_t operands, int operand) { return operands > static_cast<size_t>(operand); }

std::vector<TensorType> infer_sgd(const OpArgs& args) {
  expect_update(args, {});
  if (!has(args.inputs.size(), kMomentum)) {
    if (args.attrs.number("momentum", 0) != 0) throw PlanError("momentum needs the operand m, of p's type");
    return {args.inputs[kParameter]};
  }
  expect_same_type(args, kParameter, "p", kMomentum, "m");
  if (has(args.inputs.size(), kStep)) {
    expect_step(args, kStep);
  } else if (args.attrs.number("dampening", 0) != 0) {
    throw PlanError("dampening needs the operand step: the first update takes the whole gradient");
  }
  return {args.inputs[kParameter], args.inputs[kParameter]};
}

std::string sgd_rule(const OpArgs& args) {
  const std::string dims = dim_names(args.rank(kParameter));
  const std::string first = dims + ", " + dims + ", ., ., .";
  if (!has(args.inputs.size(), kMomentum)) return first + " -> " + dims;
  return first + ", " + dims + (has(args.inputs.size(), kStep) ? ", ." : "") + " -> " + dims + ", " + dims;
}

void sgd_cpu(const KernelArgs& args, Stream&) {
  const bool momentum = has(args.inputs.size(), kMomentum);
  start_from(args, {{0, kParameter}});
  if (momentum) start_from(args, {{1, kMomentum}});
  if (scalar_of(args.inputs[kOk]) == 0) return;
  const cpu::SgdOptions options{.lr = scalar_of(args.inputs[kLr]),
                                .momentum = args.attrs->number("momentum", 0),
                                .dampening = args.attrs->number("dampening", 0),
                                .weight_decay = args.attrs->number("weight_decay", 0),
                                .nesterov = args.attrs->integer("nesterov", 0) != 0};
  // Without a step the momentum starts at zero, which is the same as long as there is no dampening.
  const int64_t step = has(args.inputs.size(), kStep) ? *args.inputs[kStep].as<int64_t>() + 1 : 2;
  const TensorView& p = args.outputs[0];
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::sgd<T>(p.as<T>(), momentum ? args.outputs[1].as<T>() : nullptr, args.inputs[kGradient].as<T>(), p.elements(),
                options, step, scalar_of(args.inputs[kScale]));
  });
}

}  // namespace

OpDef sgd() {
  return {.name = "sgd",
          .inputs = {"p", "g", "lr", "scale", "ok", "m", "step"},
          .outputs = {"p", "m"},
          .doc = "One update of torch.optim.SGD with the gradient g * scale; nothing changes where ok is 0.",
          .rule_of = sgd_rule,
          .infer = infer_sgd,
          .cpu = sgd_cpu,
          .updates = {{0, kParameter}, {1, kMomentum}}};
}

}  // namespace troupe::define
