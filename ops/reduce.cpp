// Reductions over the attribute `dims`; with keep=1 those dims stay with size one.

#include "ops/cpu/reduce.h"

#include <algorithm>

#include "ops/cpu/pointwise.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

bool is_reduced(const Attrs& attrs, int dim) {
  const std::vector<int64_t>& dims = attrs.integers("dims");
  return std::find(dims.begin(), dims.end(), dim) != dims.end();
}

bool keeps(const Attrs& attrs) { return attrs.integer("keep", 0) != 0; }

Shape reduced_shape(const Shape& x, const Attrs& attrs, bool keep) {
  Shape y;
  for (int d = 0; d < x.rank(); ++d) {
    if (!is_reduced(attrs, d)) y.push_back(x[d]);
    if (is_reduced(attrs, d) && keep) y.push_back(1);
  }
  return y;
}

std::vector<TensorType> infer_reduce(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  std::vector<int64_t> dims = args.attrs.integers("dims");
  std::sort(dims.begin(), dims.end());
  const bool twice = std::adjacent_find(dims.begin(), dims.end()) != dims.end();
  if (twice || (!dims.empty() && (dims.front() < 0 || dims.back() >= args.rank(0)))) {
    throw PlanError("dims are [" + Dims(args.attrs.integers("dims")).str() + "], but " + operand_text(args, 0, "x") +
                    " with " + std::to_string(args.rank(0)) + " dims; each may be named once, from 0");
  }
  return {{args.inputs[0].dtype, reduced_shape(args.shape(0), args.attrs, keeps(args.attrs))}};
}

std::string rule_without_notes(const OpArgs& args) {
  std::string y;
  for (int d = 0; d < args.rank(0); ++d) {
    const bool reduced = is_reduced(args.attrs, d);
    if (reduced && !keeps(args.attrs)) continue;
    y += (y.empty() ? "" : " ") + (reduced ? std::string("1") : "d" + std::to_string(d));
  }
  return dim_names(args.rank(0)) + " -> " + (y.empty() ? "." : y);
}

std::string additive(const OpArgs& args) { return rule_without_notes(args) + "; additive"; }

std::string largest(const OpArgs& args) { return rule_without_notes(args) + "; max"; }
std::string smallest(const OpArgs& args) { return rule_without_notes(args) + "; min"; }

template <cpu::ReduceOp op>
void reduce_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  bool reduced[kMaxRank];
  for (int d = 0; d < x.shape.rank(); ++d) reduced[d] = is_reduced(*args.attrs, d);
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::reduce<T>(op, y.as<T>(), x.as<T>(), x.shape.begin(), reduced, x.shape.rank());
  });
}

// Divides by the number of elements of the whole, so that the parts of a split dim add up to the mean.
void reduce_mean_cpu(const KernelArgs& args, Stream& stream) {
  reduce_cpu<cpu::ReduceOp::kSum>(args, stream);
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  int64_t count = 1;
  for (int d = 0; d < x.shape.rank(); ++d) count *= is_reduced(*args.attrs, d) ? x.logical[d] : 1;
  with_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::binary_scalar<T>(cpu::BinaryOp::kDiv, y.as<T>(), y.as<T>(), static_cast<T>(count), y.elements());
  });
}

// A tensor of y's shape with the reduced dims as ones, so that it broadcasts to x.
ValueId broadcastable(GradientBuilder& g, ValueId y) {
  const Shape shape = reduced_shape(g.type(g.input(0)).shape, g.attrs(), true);
  if (g.type(y).shape == shape || g.type(y).shape.rank() == 0) return y;
  return g.add("reshape", {y}, {{"shape", shape.vector()}});
}

ValueId expanded(GradientBuilder& g, ValueId y) {
  return g.add("expand", {broadcastable(g, y)}, {{"shape", g.type(g.input(0)).shape.vector()}});
}

std::vector<ValueId> sum_gradient(GradientBuilder& g) { return {expanded(g, g.gradient())}; }

std::vector<ValueId> mean_gradient(GradientBuilder& g) {
  const Shape& x = g.type(g.input(0)).shape;
  double count = 1;
  for (int d = 0; d < x.rank(); ++d) count *= is_reduced(g.attrs(), d) ? static_cast<double>(x[d]) : 1.0;
  return {expanded(g, g.add("mul_scalar", {g.gradient()}, {{"value", 1.0 / count}}))};
}

// Elements that share the extreme value share its gradient evenly, as in PyTorch's amax.
std::vector<ValueId> extreme_gradient(GradientBuilder& g) {
  const ValueId taken = g.add("equal", {g.input(0), broadcastable(g, g.output(0))});
  const ValueId mask = g.add("cast", {taken}, {{"dtype", std::string(name_of(g.type(g.input(0)).dtype))}});
  const ValueId ties = g.add("reduce_sum", {mask}, {{"dims", g.attrs().integers("dims")}, {"keep", int64_t{1}}});
  return {g.add("mul", {mask, g.add("div", {broadcastable(g, g.gradient()), ties})})};
}

OpDef reduction(const char* name, const char* doc, Kernel cpu, std::vector<ValueId> (*gradient)(GradientBuilder&)) {
  return {.name = name,
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = doc,
          .infer = infer_reduce,
          .gradient = gradient,
          .cpu = cpu};
}

}  // namespace

OpDef reduce_sum() {
  OpDef op = reduction("reduce_sum", "y = the sum of x over dims.", reduce_cpu<cpu::ReduceOp::kSum>, sum_gradient);
  op.rule_of = additive;
  return op;
}

OpDef reduce_mean() {
  OpDef op = reduction("reduce_mean", "y = the mean of x over dims.", reduce_mean_cpu, mean_gradient);
  op.rule_of = additive;
  return op;
}

OpDef reduce_max() {
  OpDef op = reduction("reduce_max", "y = the largest element of x over dims; equal ones share the gradient.",
                       reduce_cpu<cpu::ReduceOp::kMax>, extreme_gradient);
  op.rule_of = largest;
  return op;
}

OpDef reduce_min() {
  OpDef op = reduction("reduce_min", "y = the smallest element of x over dims; equal ones share the gradient.",
                       reduce_cpu<cpu::ReduceOp::kMin>, extreme_gradient);
  op.rule_of = smallest;
  return op;
}

}  // namespace troupe::define
