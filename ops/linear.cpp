// y[.., out] = sum over in of x[.., in] * w[out, in] + b[out], and the three products of its backward.

#include "ops/cpu/gemm.h"
#include "ops/cpu/gemm_low.h"
#include "ops/cpu/reduce.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

Shape with_last(const Shape& shape, int64_t last) {
  Shape result = shape;
  result[shape.rank() - 1] = last;
  return result;
}

// 2 * rows * in * out, wherever the three stand.
double product_flops(const Shape& rows, int64_t columns) {
  return 2.0 * static_cast<double>(rows.elements()) * static_cast<double>(columns);
}

void expect_matrix(const OpArgs& args, int operand, const char* name) {
  if (args.rank(operand) == 2) return;
  throw PlanError(operand_text(args, operand, name) + ", but must have two dims [out,in]");
}

void expect_inner(const OpArgs& args, const char* name, int weight_dim) {
  const Shape& x = args.shape(0);
  const int last = x.rank() - 1;
  if (x[last] == args.shape(1)[weight_dim]) return;
  throw PlanError("inner dims differ: " + operand_text(args, 0, name) + ", " + operand_text(args, 1, "w") + "; " +
                  name + ".dim(" + std::to_string(last) + ")=" + std::to_string(x[last]) + " must equal w.dim(" +
                  std::to_string(weight_dim) + ")=" + std::to_string(args.shape(1)[weight_dim]));
}

std::vector<TensorType> infer_linear(const OpArgs& args) {
  expect_operands(args, 2);
  expect_any_float(args, 0, "x");
  expect_same_dtype(args, 0, "x", 1, "w");
  expect_rank(args, 0, "x", 1);
  expect_matrix(args, 1, "w");
  expect_inner(args, "x", 1);
  const int64_t out = args.shape(1)[0];
  if (args.inputs.size() > 2) {
    expect_same_dtype(args, 0, "x", 2, "b");
    expect_shape(args, 2, "b", {out}, "one per row of w, and " + operand_text(args, 1, "w"));
  }
  return {{args.inputs[0].dtype, with_last(args.shape(0), out)}};
}

// The bias is added once: where the product is partial it must be partial too.
std::string linear_rule(const OpArgs& args) {
  const std::string product = dim_names_and(args.rank(0), "in") + ", out in";
  const std::string y = " -> " + dim_names_and(args.rank(0), "out");
  return args.inputs.size() == 2 ? product + y + "; linear" : product + ", out" + y + "; linear, added(2)";
}

std::vector<ValueId> linear_gradient(GradientBuilder& g) {
  const ValueId dy = g.gradient();
  std::vector<ValueId> result(static_cast<size_t>(g.inputs()));
  if (g.needed(0)) result[0] = g.add("linear_input_gradient", {dy, g.input(1)}, g.attrs());
  if (g.needed(1)) result[1] = g.add("linear_weight_gradient", {g.input(0), dy}, g.attrs());
  if (g.inputs() > 2 && g.needed(2)) result[2] = g.add("row_sum", {dy});
  return result;
}

void linear_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& w = args.inputs[1];
  const int64_t rows = row_count(x.shape);
  const int64_t in = w.shape[1];
  const int64_t out = w.shape[0];
  if (is_low(x.dtype)) {
    return with_low(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const T* bias = args.inputs.size() > 2 ? args.inputs[2].as<T>() : nullptr;
      cpu::gemm_low<T, T>(false, true, rows, out, in, x.as<T>(), in, w.as<T>(), in, bias, args.outputs[0].as<T>(), out);
    });
  }
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* y = args.outputs[0].as<T>();
    if (args.inputs.size() > 2) {
      cpu::gemm_bias<T>(false, true, rows, out, in, x.as<T>(), in, w.as<T>(), in, args.inputs[2].as<T>(), y, out);
    } else {
      cpu::gemm<T>(false, true, rows, out, in, T(1), x.as<T>(), in, w.as<T>(), in, T(0), y, out);
    }
  });
}

std::vector<TensorType> infer_input_gradient(const OpArgs& args) {
  expect_operands(args, 2);
  expect_any_float(args, 0, "dy");
  expect_same_dtype(args, 0, "dy", 1, "w");
  expect_rank(args, 0, "dy", 1);
  expect_matrix(args, 1, "w");
  expect_inner(args, "dy", 0);
  return {{args.inputs[0].dtype, with_last(args.shape(0), args.shape(1)[1])}};
}

void input_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& dy = args.inputs[0];
  const TensorView& w = args.inputs[1];
  const int64_t in = w.shape[1];
  const int64_t out = w.shape[0];
  if (is_low(dy.dtype)) {
    return with_low(dy.dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::gemm_low<T, T>(false, false, row_count(dy.shape), in, out, dy.as<T>(), out, w.as<T>(), in, nullptr,
                          args.outputs[0].as<T>(), in);
    });
  }
  with_float(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::gemm<T>(false, false, row_count(dy.shape), in, out, T(1), dy.as<T>(), out, w.as<T>(), in, T(0),
                 args.outputs[0].as<T>(), in);
  });
}

std::vector<TensorType> infer_weight_gradient(const OpArgs& args) {
  expect_operands(args, 2);
  expect_any_float(args, 0, "x");
  expect_same_dtype(args, 0, "x", 1, "dy");
  expect_rank(args, 0, "x", 1);
  expect_rank(args, 1, "dy", 1);
  if (!(rows_of(args.shape(0)) == rows_of(args.shape(1)))) {
    throw PlanError("rows differ: " + operand_text(args, 0, "x") + ", " + operand_text(args, 1, "dy") +
                    "; all dims but the last must be equal");
  }
  return {{sum_dtype(args.inputs[0].dtype), {args.shape(1).back(), args.shape(0).back()}}};
}

void weight_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& dy = args.inputs[1];
  const int64_t in = x.shape.back();
  const int64_t out = dy.shape.back();
  if (is_low(x.dtype)) {
    return with_low(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      cpu::gemm_low<T, float>(true, false, out, in, row_count(x.shape), dy.as<T>(), out, x.as<T>(), in, nullptr,
                              args.outputs[0].as<float>(), in);
    });
  }
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::gemm<T>(true, false, out, in, row_count(x.shape), T(1), dy.as<T>(), out, x.as<T>(), in, T(0),
                 args.outputs[0].as<T>(), in);
  });
}

std::vector<TensorType> infer_row_sum(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "x");
  expect_rank(args, 0, "x", 1);
  return {{sum_dtype(args.inputs[0].dtype), {args.shape(0).back()}}};
}

std::vector<ValueId> row_sum_gradient(GradientBuilder& g) {
  return {g.add("expand", {g.gradient()}, {{"shape", g.type(g.input(0)).shape.vector()}})};
}

void row_sum_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::sum_rows<T>(args.outputs[0].as<T>(), x.as<T>(), row_count(x.shape), x.shape.back());
  });
}

}  // namespace

OpDef linear() {
  return {.name = "linear",
          .inputs = {"x", "w", "b"},
          .outputs = {"y"},
          .doc = "y[.., out] = sum over in of x[.., in] * w[out, in], plus b[out] where given.",
          .rule_of = linear_rule,
          .infer = infer_linear,
          .gradient = linear_gradient,
          .precision = Precision::low,
          .cpu = linear_cpu,
          .flops = [](const OpArgs& args) { return product_flops(args.shape(0), args.shape(1)[0]); }};
}

OpDef linear_input_gradient() {
  return {.name = "linear_input_gradient",
          .inputs = {"dy", "w"},
          .outputs = {"dx"},
          .doc = "dx[.., in] = sum over out of dy[.., out] * w[out, in].",
          .rule_of =
              [](const OpArgs& args) {
                return dim_names_and(args.rank(0), "out") + ", out in -> " + dim_names_and(args.rank(0), "in") +
                       "; linear";
              },
          .infer = infer_input_gradient,
          .precision = Precision::low,
          .cpu = input_gradient_cpu,
          .flops = [](const OpArgs& args) { return product_flops(args.shape(0), args.shape(1)[1]); }};
}

OpDef linear_weight_gradient() {
  return {.name = "linear_weight_gradient",
          .inputs = {"x", "dy"},
          .outputs = {"dw"},
          .doc = "dw[out, in] = sum over all rows of dy[.., out] * x[.., in]; f32 where these are bf16 or f16.",
          .rule_of =
              [](const OpArgs& args) {
                return dim_names_and(args.rank(0), "in") + ", " + dim_names_and(args.rank(0), "out") +
                       " -> out in; linear";
              },
          .infer = infer_weight_gradient,
          .precision = Precision::low,
          .cpu = weight_gradient_cpu,
          .flops = [](const OpArgs& args) { return product_flops(args.shape(0), args.shape(1).back()); }};
}

OpDef row_sum() {
  return {.name = "row_sum",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y[n] = sum over all rows of x[.., n]; f32 where x is bf16 or f16.",
          .rule_of = [](const OpArgs& args) { return dim_names_and(args.rank(0), "n") + " -> n; additive"; },
          .infer = infer_row_sum,
          .gradient = row_sum_gradient,
          .precision = Precision::follow,
          .cpu = in_float32<row_sum_cpu>,
          .scratch_bytes = scratch_in_float32<infer_row_sum>};
}

}  // namespace troupe::define
