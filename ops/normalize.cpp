// Rows of the last dim brought to length 1.

#include "ops/cpu/normalize.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

double eps_of(const Attrs& attrs) {
  const double eps = attrs.number("eps");
  if (!(eps > 0)) throw PlanError("eps is " + std::to_string(eps) + ", but must be above 0");
  return eps;
}

std::vector<TensorType> infer_normalize(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  expect_rank(args, 0, "x", 1);
  eps_of(args.attrs);
  return {args.inputs[0], {args.inputs[0].dtype, rows_of(args.shape(0))}};
}

std::vector<ValueId> backward(GradientBuilder& g) {
  if (g.gradient(1).valid()) throw PlanError("only y has a gradient; norm is kept for the backward pass");
  return {g.add("normalize_gradient", {g.gradient(), g.output(0), g.output(1)}, g.attrs())};
}

void normalize_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::normalize_forward<T>(args.outputs[0].as<T>(), args.outputs[1].as<T>(), x.as<T>(), row_count(x.shape),
                              x.shape.back(), eps_of(*args.attrs));
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 3);
  expect_float(args, 0, "dy");
  expect_rank(args, 0, "dy", 1);
  expect_same_type(args, 0, "dy", 1, "y");
  expect_same_dtype(args, 1, "y", 2, "norm");
  expect_shape(args, 2, "norm", rows_of(args.shape(1)), "one per row of y, and " + operand_text(args, 1, "y"));
  eps_of(args.attrs);
  return {args.inputs[0]};
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& y = args.inputs[1];
  with_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::normalize_backward<T>(args.outputs[0].as<T>(), args.inputs[0].as<T>(), y.as<T>(), args.inputs[2].as<T>(),
                               row_count(y.shape), y.shape.back(), eps_of(*args.attrs));
  });
}

}  // namespace

OpDef normalize() {
  return {.name = "normalize",
          .inputs = {"x"},
          .outputs = {"y", "norm"},
          .doc = "y = x / max(norm, eps) over the last dim, with norm = sqrt(sum(x^2)).",
          .rule_of =
              [](const OpArgs& args) {
                const std::string x = dim_names_and(args.rank(0), "n");
                return x + " -> " + x + ", " + dim_names(args.rank(0) - 1) + "; !n";
              },
          .infer = infer_normalize,
          .gradient = backward,
          .cpu = normalize_cpu,
          .in_place = {{0, 0}}};
}

OpDef normalize_gradient() {
  return {.name = "normalize_gradient",
          .inputs = {"dy", "y", "norm"},
          .outputs = {"dx"},
          .doc = "dx = (dy - y sum(y dy)) / norm; dy / eps where norm is below eps.",
          .rule_of =
              [](const OpArgs& args) {
                const std::string x = dim_names_and(args.rank(0), "n");
                return x + ", " + x + ", " + dim_names(args.rank(0) - 1) + " -> " + x + "; !n, linear(0)";
              },
          .infer = infer_gradient,
          .cpu = gradient_cpu,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
