#include "ops/cpu/layer_norm.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_rms_norm(const OpArgs& args) {
  expect_operands(args, 2);
  expect_float(args, 0, "x");
  expect_rank(args, 0, "x", 1);
  expect_same_dtype(args, 0, "x", 1, "scale");
  expect_shape(args, 1, "scale", {args.shape(0).back()}, "the last dim of x, and " + operand_text(args, 0, "x"));
  return {args.inputs[0], {args.inputs[0].dtype, rows_of(args.shape(0))}};
}

std::string rms_norm_rule(const OpArgs& args) {
  const std::string x = dim_names_and(args.rank(0), "n");
  return x + ", n -> " + x + ", " + dim_names(args.rank(0) - 1) + "; !n";
}

std::vector<ValueId> backward(GradientBuilder& g) {
  if (g.gradient(1).valid()) throw PlanError("only y has a gradient; rstd is kept for the backward pass");
  return g.add_all("rms_norm_gradient", {g.gradient(), g.input(0), g.input(1), g.output(1)});
}

void rms_norm_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::rms_norm_forward<T>(args.outputs[0].as<T>(), args.outputs[1].as<T>(), x.as<T>(), args.inputs[1].as<T>(),
                             row_count(x.shape), x.shape.back(), args.attrs->number("eps"));
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 4);
  expect_float(args, 0, "dy");
  expect_same_type(args, 0, "dy", 1, "x");
  expect_rank(args, 1, "x", 1);
  const Shape& x = args.shape(1);
  expect_shape(args, 2, "scale", {x.back()}, "the last dim of x, and " + operand_text(args, 1, "x"));
  expect_shape(args, 3, "rstd", rows_of(x), "one per row of x, and " + operand_text(args, 1, "x"));
  return {args.inputs[0], args.inputs[2]};
}

// Every row adds to dscale, so a split of the rows leaves it partial.
std::string gradient_rule(const OpArgs& args) {
  const std::string x = dim_names_and(args.rank(1), "n");
  return x + ", " + x + ", n, " + dim_names(args.rank(1) - 1) + " -> " + x + ", n; !n, linear(0)";
}

// dscale first: dx may have the memory of dy.
void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[1];
  const int64_t rows = row_count(x.shape);
  const int64_t n = x.shape.back();
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = args.inputs[0].as<T>();
    const T* scale = args.inputs[2].as<T>();
    const T* rstd = args.inputs[3].as<T>();
    cpu::rms_norm_backward_params<T>(args.outputs[1].as<T>(), dy, x.as<T>(), rstd, rows, n);
    cpu::rms_norm_backward_input<T>(args.outputs[0].as<T>(), dy, x.as<T>(), rstd, scale, rows, n);
  });
}

}  // namespace

OpDef rms_norm() {
  return {.name = "rms_norm",
          .inputs = {"x", "scale"},
          .outputs = {"y", "rstd"},
          .doc = "y = x rstd scale over the last dim, with rstd = 1 / sqrt(mean(x^2) + eps).",
          .rule_of = rms_norm_rule,
          .infer = infer_rms_norm,
          .gradient = backward,
          .cpu = rms_norm_cpu};
}

OpDef rms_norm_gradient() {
  return {.name = "rms_norm_gradient",
          .inputs = {"dy", "x", "scale", "rstd"},
          .outputs = {"dx", "dscale"},
          .doc = "With g = dy scale: dx = rstd (g - x rstd^2 mean(g x)), dscale = sum of dy x rstd.",
          .rule_of = gradient_rule,
          .infer = infer_gradient,
          .cpu = gradient_cpu,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
