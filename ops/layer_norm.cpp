#include "ops/cpu/layer_norm.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_layer_norm(const OpArgs& args) {
  expect_operands(args, 3);
  expect_float(args, 0, "x");
  expect_rank(args, 0, "x", 1);
  for (auto [operand, name] : {std::pair{1, "scale"}, {2, "shift"}}) {
    expect_same_dtype(args, 0, "x", operand, name);
    expect_shape(args, operand, name, {args.shape(0).back()}, "the last dim of x, and " + operand_text(args, 0, "x"));
  }
  const TensorType rows{args.inputs[0].dtype, rows_of(args.shape(0))};
  return {args.inputs[0], rows, rows};
}

std::string layer_norm_rule(const OpArgs& args) {
  const std::string x = dim_names_and(args.rank(0), "n");
  const std::string rows = dim_names(args.rank(0) - 1);
  return x + ", n, n -> " + x + ", " + rows + ", " + rows + "; !n";
}

std::vector<ValueId> backward(GradientBuilder& g) {
  if (g.gradient(1).valid() || g.gradient(2).valid()) {
    throw PlanError("only y has a gradient; mean and rstd are kept for the backward pass");
  }
  return g.add_all("layer_norm_gradient", {g.gradient(), g.input(0), g.input(1), g.output(1), g.output(2)});
}

void layer_norm_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::layer_norm_forward<T>(args.outputs[0].as<T>(), args.outputs[1].as<T>(), args.outputs[2].as<T>(), x.as<T>(),
                               args.inputs[1].as<T>(), args.inputs[2].as<T>(), row_count(x.shape), x.shape.back(),
                               args.attrs->number("eps"));
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 5);
  expect_float(args, 0, "dy");
  expect_same_type(args, 0, "dy", 1, "x");
  expect_rank(args, 1, "x", 1);
  const Shape& x = args.shape(1);
  expect_shape(args, 2, "scale", {x.back()}, "the last dim of x, and " + operand_text(args, 1, "x"));
  expect_shape(args, 3, "mean", rows_of(x), "one per row of x, and " + operand_text(args, 1, "x"));
  expect_same_type(args, 3, "mean", 4, "rstd");
  return {args.inputs[0], args.inputs[2], args.inputs[2]};
}

// Every row adds to dscale and dshift, so a split of the rows leaves them partial.
std::string gradient_rule(const OpArgs& args) {
  const std::string x = dim_names_and(args.rank(1), "n");
  const std::string rows = dim_names(args.rank(1) - 1);
  return x + ", " + x + ", n, " + rows + ", " + rows + " -> " + x + ", n, n; !n, linear(0)";
}

// dscale and dshift first: dx may have the memory of dy.
void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[1];
  const int64_t rows = row_count(x.shape);
  const int64_t n = x.shape.back();
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = args.inputs[0].as<T>();
    const T* scale = args.inputs[2].as<T>();
    const T* mean = args.inputs[3].as<T>();
    const T* rstd = args.inputs[4].as<T>();
    cpu::layer_norm_backward_params<T>(args.outputs[1].as<T>(), args.outputs[2].as<T>(), dy, x.as<T>(), mean, rstd,
                                       rows, n);
    cpu::layer_norm_backward_input<T>(args.outputs[0].as<T>(), dy, x.as<T>(), mean, rstd, scale, rows, n);
  });
}

}  // namespace

OpDef layer_norm() {
  return {.name = "layer_norm",
          .inputs = {"x", "scale", "shift"},
          .outputs = {"y", "mean", "rstd"},
          .doc = "y = (x - mean) rstd scale + shift over the last dim, with rstd = 1 / sqrt(variance + eps).",
          .rule_of = layer_norm_rule,
          .infer = infer_layer_norm,
          .gradient = backward,
          .cpu = layer_norm_cpu,
          .in_place = {{0, 0}}};
}

OpDef layer_norm_gradient() {
  return {.name = "layer_norm_gradient",
          .inputs = {"dy", "x", "scale", "mean", "rstd"},
          .outputs = {"dx", "dscale", "dshift"},
          .doc =
              "With h = (x - mean) rstd and g = dy scale: dx = rstd (g - mean(g) - h mean(g h)), dscale = sum of dy "
              "h, dshift = sum of dy.",
          .rule_of = gradient_rule,
          .infer = infer_gradient,
          .cpu = gradient_cpu,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
