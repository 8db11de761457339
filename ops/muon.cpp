// Muon (Jordan et al. 2024), the semantics of torch.optim.Muon: a momentum whose matrix is made nearly orthogonal.

#include "ops/cpu/muon.h"

#include <algorithm>

#include "ops/cpu/optimizer.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/optimizer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_momentum(const OpArgs& args) {
  expect_operands(args, 4);
  expect_float(args, 0, "g");
  expect_float_scalar(args, 1, "scale");
  expect_float_scalar(args, 2, "ok");
  expect_same_type(args, 0, "g", 3, "m");
  args.attrs.number("momentum");
  return {args.inputs[0], args.inputs[0]};
}

std::string momentum_rule(const OpArgs& args) {
  const std::string g = dim_names(args.rank(0));
  return g + ", ., ., " + g + " -> " + g + ", " + g;
}

void momentum_cpu(const KernelArgs& args, Stream&) {
  start_from(args, {{1, 3}});
  if (scalar_of(args.inputs[2]) == 0) return start_from(args, {{0, 0}});
  const TensorView& u = args.outputs[0];
  with_float(u.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::muon_momentum<T>(u.as<T>(), args.outputs[1].as<T>(), args.inputs[0].as<T>(), u.elements(),
                          args.attrs->number("momentum"), args.attrs->integer("nesterov", 1) != 0,
                          scalar_of(args.inputs[1]));
  });
}

cpu::NewtonSchulzOptions options_of(const Attrs& attrs) {
  const cpu::NewtonSchulzOptions defaults;
  return {.a = attrs.number("a", defaults.a),
          .b = attrs.number("b", defaults.b),
          .c = attrs.number("c", defaults.c),
          .eps = attrs.number("eps", defaults.eps),
          .steps = attrs.integer("steps", defaults.steps)};
}

std::vector<TensorType> infer_newton_schulz(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  if (args.rank(0) != 3)
    throw PlanError(operand_text(args, 0, "x") + ", but must have three dims [count,rows,columns]");
  return {args.inputs[0]};
}

void newton_schulz_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::newton_schulz<T>(args.outputs[0].as<T>(), x.as<T>(), x.shape[0], x.shape[1], x.shape[2],
                          options_of(*args.attrs), reinterpret_cast<T*>(args.scratch.data()));
  });
}

int64_t newton_schulz_scratch(const OpArgs& args) {
  return cpu::newton_schulz_scratch(args.shape(0)[1], args.shape(0)[2]) * size_of(args.inputs[0].dtype);
}

// Three products per step: a gram matrix, its square, and the step itself.
double newton_schulz_flops(const OpArgs& args) {
  const Shape& x = args.shape(0);
  const auto elements = static_cast<double>(x.elements());
  const auto least = static_cast<double>(std::min(x[1], x[2]));
  const double step = 4 * elements * least + 2 * static_cast<double>(x[0]) * least * least * least;
  return step * static_cast<double>(options_of(args.attrs).steps);
}

}  // namespace

OpDef muon_momentum() {
  return {.name = "muon_momentum",
          .inputs = {"g", "scale", "ok", "m"},
          .outputs = {"u", "m"},
          .doc =
              "m = momentum m + (1 - momentum) g scale and, with nesterov=1, u = momentum m + (1 - momentum) g scale, "
              "else m; m stays where ok is 0.",
          .rule_of = momentum_rule,
          .infer = infer_momentum,
          .cpu = momentum_cpu,
          .in_place = {{0, 0}},
          .updates = {{1, 3}}};
}

OpDef newton_schulz() {
  return {.name = "newton_schulz",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc =
              "y[i] = x[i] over its Frobenius norm after `steps` steps X <- a X + (b G + c G^2) X, G = X X^T (from the "
              "right where x has more rows than columns): the nearest orthogonal matrix, roughly.",
          .rule = "count m n -> count m n; !m, !n",
          .infer = infer_newton_schulz,
          .cpu = newton_schulz_cpu,
          .scratch_bytes = newton_schulz_scratch,
          .flops = newton_schulz_flops,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
