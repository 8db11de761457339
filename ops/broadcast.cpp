// Repeating a tensor along dims, and its gradient.

#include "ops/broadcast.h"

#include "ops/cpu/movement.h"
#include "ops/cpu/reduce.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

// The smaller one broadcasts to the larger one.
bool broadcasts_to(const Shape& small, const Shape& large) {
  const int missing = large.rank() - small.rank();
  if (missing < 0) return false;
  for (int d = 0; d < small.rank(); ++d) {
    if (small[d] != 1 && small[d] != large[d + missing]) return false;
  }
  return true;
}

// Names for a small operand and a large one, where dims of the large one that are repeated in the small one have
// names of their own.
struct Names {
  std::string small, large;
};

Names names_of(const Shape& small, const Shape& large) {
  const int missing = large.rank() - small.rank();
  Names names{"", dim_names(large.rank())};
  for (int d = 0; d < small.rank(); ++d) {
    const bool same = small[d] == large[d + missing];
    names.small += (d == 0 ? "" : " ") + (same ? "d" + std::to_string(d + missing) : "1");
  }
  if (small.rank() == 0) names.small = ".";
  return names;
}

std::vector<TensorType> infer_sum_to(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  const Shape shape = shape_attr(args.attrs);
  if (!broadcasts_to(shape, args.shape(0))) {
    throw PlanError(operand_text(args, 0, "x") + ", but shape is [" + shape.str() +
                    "], which does not broadcast to it");
  }
  return {{args.inputs[0].dtype, shape}};
}

std::vector<TensorType> infer_expand(const OpArgs& args) {
  expect_operands(args, 1);
  const Shape shape = shape_attr(args.attrs);
  if (!broadcasts_to(args.shape(0), shape)) {
    throw PlanError(operand_text(args, 0, "x") + ", but shape is [" + shape.str() + "]; dims of x must be 1 or equal");
  }
  return {{args.inputs[0].dtype, shape}};
}

// A dim along which x is repeated is new in y: every device may make its own part of it.
std::string expand_rule(const OpArgs& args) {
  const Names names = names_of(args.shape(0), shape_attr(args.attrs));
  return names.small + " -> " + names.large + "; movement";
}

void sum_to_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  const int missing = x.shape.rank() - y.shape.rank();
  bool reduced[kMaxRank];
  for (int d = 0; d < x.shape.rank(); ++d) reduced[d] = d < missing || y.shape[d - missing] != x.shape[d];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::reduce<T>(cpu::ReduceOp::kSum, y.as<T>(), x.as<T>(), x.shape.begin(), reduced, x.shape.rank());
  });
}

void expand_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  const Dims strides = strides_in(x.shape, y.shape);
  cpu::copy_strided(y.data, x.data, strides.begin(), y.shape.begin(), y.shape.rank(), size_of(y.dtype));
}

std::vector<int64_t> input_shape(GradientBuilder& g) { return g.type(g.input(0)).shape.vector(); }

}  // namespace

OpDef sum_to() {
  return {
      .name = "sum_to",
      .inputs = {"x"},
      .outputs = {"y"},
      .doc = "y has the attribute shape, which broadcasts to x's: the sum over the dims that would repeat.",
      .rule_of =
          [](const OpArgs& args) {
            const Names names = names_of(shape_attr(args.attrs), args.shape(0));
            return names.large + " -> " + names.small + "; additive";
          },
      .infer = infer_sum_to,
      .gradient =
          [](GradientBuilder& g) { return std::vector{g.add("expand", {g.gradient()}, {{"shape", input_shape(g)}})}; },
      .cpu = sum_to_cpu};
}

OpDef expand() {
  return {
      .name = "expand",
      .inputs = {"x"},
      .outputs = {"y"},
      .doc = "y has the attribute shape: x repeated along dims that it lacks or where its size is one.",
      .rule_of = expand_rule,
      .infer = infer_expand,
      .gradient =
          [](GradientBuilder& g) { return std::vector{g.add("sum_to", {g.gradient()}, {{"shape", input_shape(g)}})}; },
      .precision = Precision::follow,
      .cpu = expand_cpu};
}

}  // namespace troupe::define
