// The global norm of the gradients and the check that a step is finite. Whole rows are summed first and then rows along
// a fixed tree, so that a split of rows does not change a bit. A tensor of three dims is a list of matrices (experts),
// each with rows of its own: a split of the list and one within each matrix both leave rows whole.

#include <algorithm>
#include <cmath>

#include "ops/cpu/pointwise.h"
#include "ops/cpu/reduce.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/text.h"

namespace troupe::define {
namespace {

// How many of the leading dims of x[.., ..] count its rows.
int row_dims(int rank) { return rank == 3 ? 2 : std::min(rank, 1); }

std::vector<TensorType> infer_row_sum_squares(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  if (args.rank(0) == 0) return {{args.inputs[0].dtype, {1}}};
  Shape rows = Dims::filled(row_dims(args.rank(0)), 1);
  for (int d = 0; d < rows.rank(); ++d) rows[d] = args.shape(0)[d];
  return {{args.inputs[0].dtype, rows}};
}

std::string row_sum_squares_rule(const OpArgs& args) {
  return dim_names(args.rank(0)) + " -> " + (args.rank(0) == 0 ? "1" : dim_names(row_dims(args.rank(0))));
}

void row_sum_squares_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const int64_t rows = args.outputs[0].elements();
  int64_t row_size = 1;
  for (int d = row_dims(x.shape.rank()); d < x.shape.rank(); ++d) row_size *= x.shape[d];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::row_sum_squares<T>(args.outputs[0].as<T>(), x.as<T>(), rows, row_size);
  });
}

std::vector<TensorType> infer_tree_sum(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "v");
  if (args.rank(0) == 0) throw PlanError(operand_text(args, 0, "v") + ", but must have at least one dim");
  return {{args.inputs[0].dtype, {}}};
}

std::string tree_sum_rule(const OpArgs& args) {
  return args.attrs.integer("in_parts", 0) != 0 ? dim_names(args.rank(0)) + " -> .; additive" : "* -> .";
}

void tree_sum_cpu(const KernelArgs& args, Stream&) {
  const TensorView& v = args.inputs[0];
  with_float(v.dtype, [&](auto zero) {
    using T = decltype(zero);
    *args.outputs[0].as<T>() = cpu::tree_sum<T>(v.as<T>(), v.elements());
  });
}

std::vector<TensorType> infer_global_norm_scale(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "norm");
  expect_scalar(args, 0, "norm");
  args.attrs.number("max_norm");
  return {args.inputs[0]};
}

// As torch.nn.utils.clip_grad_norm_: a NaN norm gives a NaN scale.
void global_norm_scale_cpu(const KernelArgs& args, Stream&) {
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const T scale = static_cast<T>(args.attrs->number("max_norm")) / (*args.inputs[0].as<T>() + T(1e-6));
    *args.outputs[0].as<T>() = scale > T(1) ? T(1) : scale;
  });
}

std::vector<TensorType> infer_is_finite(const OpArgs& args) {
  for (int i = 0; i < static_cast<int>(args.inputs.size()); ++i) {
    const std::string name = "operand " + std::to_string(i);
    expect_float(args, i, name.c_str());
    expect_scalar(args, i, name.c_str());
  }
  return {{DType::f32, {}}};
}

std::string is_finite_rule(const OpArgs& args) {
  return join(args.inputs, ", ", [](const TensorType&) { return "."; }) + " -> .";
}

void is_finite_cpu(const KernelArgs& args, Stream&) {
  bool finite = true;
  for (const TensorView& x : args.inputs) {
    with_float(x.dtype, [&](auto zero) { finite = finite && std::isfinite(*x.as<decltype(zero)>()); });
  }
  *args.outputs[0].as<float>() = finite ? 1.0f : 0.0f;
}

}  // namespace

OpDef row_sum_squares() {
  return {.name = "row_sum_squares",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y[i] = the sum of the squares of x[i, ..]; of x with three dims y[i, j] = that of x[i, j, ..].",
          .rule_of = row_sum_squares_rule,
          .infer = infer_row_sum_squares,
          .cpu = row_sum_squares_cpu};
}

OpDef tree_sum() {
  return {
      .name = "tree_sum",
      .inputs = {"v"},
      .outputs = {"y"},
      .doc =
          "y = the sum of v, in the order of its elements, along the tree whose left child takes the largest power of "
          "two below the count; with in_parts=1 devices may add their parts of v each, which is another order.",
      .rule_of = tree_sum_rule,
      .infer = infer_tree_sum,
      .cpu = tree_sum_cpu};
}

OpDef global_norm_scale() {
  return {.name = "global_norm_scale",
          .inputs = {"norm"},
          .outputs = {"scale"},
          .doc = "scale = min(1, max_norm / (norm + 1e-6)).",
          .rule = ". -> .",
          .infer = infer_global_norm_scale,
          .cpu = global_norm_scale_cpu,
          .in_place = {{0, 0}}};
}

OpDef is_finite() {
  return {.name = "is_finite",
          .inputs = {"xs..."},
          .outputs = {"ok"},
          .doc = "ok = 1 when every operand is finite, else 0.",
          .rule_of = is_finite_rule,
          .infer = infer_is_finite,
          .cpu = is_finite_cpu};
}

}  // namespace troupe::define
