// Cutting tensors along a dim and joining them. The dim itself cannot be split: parts of the pieces would not line up.

#include <cstring>

#include "ops/along.h"
#include "ops/definitions.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/text.h"

namespace troupe::define {
namespace {

// "d0 c d2, .. -> d0 c d2, ..; !c, movement".
std::string rule_along(int rank, int64_t dim, size_t inputs, size_t outputs) {
  std::string dims;
  for (int d = 0; d < rank; ++d) dims += (d == 0 ? "" : " ") + (d == dim ? std::string("c") : "d" + std::to_string(d));
  const auto list = [&](size_t n) { return join(std::vector<int>(n), ", ", [&](int) { return dims; }); };
  return list(inputs) + " -> " + list(outputs) + "; !c, movement";
}

int dim_attr(const Attrs& attrs) { return static_cast<int>(attrs.integer("dim")); }

std::vector<TensorType> infer_slice(const OpArgs& args) {
  expect_operands(args, 1);
  const int dim = dim_of(args, "x");
  const int64_t start = args.attrs.integer("start");
  const int64_t stop = args.attrs.integer("stop");
  const int64_t size = args.shape(0)[dim];
  if (start < 0 || stop < start || stop > size) {
    throw PlanError("start is " + std::to_string(start) + " and stop is " + std::to_string(stop) + ", but " +
                    operand_text(args, 0, "x") + "; 0 <= start <= stop <= x.dim(" + std::to_string(dim) +
                    ")=" + std::to_string(size) + " must hold");
  }
  return {{args.inputs[0].dtype, with_size(args.shape(0), dim, stop - start)}};
}

std::vector<ValueId> slice_gradient(GradientBuilder& g) {
  const int64_t dim = g.attrs().integer("dim");
  const int64_t after = g.type(g.input(0)).shape[static_cast<int>(dim)] - g.attrs().integer("stop");
  return {g.add("pad", {g.gradient()}, {{"dim", dim}, {"before", g.attrs().integer("start")}, {"after", after}})};
}

void slice_cpu(const KernelArgs& args, Stream&) {
  const int dim = dim_attr(*args.attrs);
  copy_along(args.outputs[0], 0, args.inputs[0], args.attrs->integer("start"), dim, args.outputs[0].shape[dim]);
}

std::vector<TensorType> infer_pad(const OpArgs& args) {
  expect_operands(args, 1);
  const int dim = dim_of(args, "x");
  const int64_t before = args.attrs.integer("before");
  const int64_t after = args.attrs.integer("after");
  if (before < 0 || after < 0) {
    throw PlanError("before is " + std::to_string(before) + " and after is " + std::to_string(after) +
                    ", but neither may be negative; slice cuts");
  }
  return {{args.inputs[0].dtype, with_size(args.shape(0), dim, before + args.shape(0)[dim] + after)}};
}

std::vector<ValueId> pad_gradient(GradientBuilder& g) {
  const int64_t dim = g.attrs().integer("dim");
  const int64_t before = g.attrs().integer("before");
  const int64_t size = g.type(g.input(0)).shape[static_cast<int>(dim)];
  return {g.add("slice", {g.gradient()}, {{"dim", dim}, {"start", before}, {"stop", before + size}})};
}

void pad_cpu(const KernelArgs& args, Stream&) {
  const TensorView& y = args.outputs[0];
  if (y.bytes() == 0) return;
  std::memset(y.data, 0, static_cast<size_t>(y.bytes()));
  const int dim = dim_attr(*args.attrs);
  copy_along(y, args.attrs->integer("before"), args.inputs[0], 0, dim, args.inputs[0].shape[dim]);
}

std::vector<TensorType> infer_concat(const OpArgs& args) {
  expect_operands(args, 1);
  const int dim = dim_of(args, "operand 0");
  int64_t size = 0;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    const TensorType& x = args.inputs[i];
    const TensorType& first = args.inputs[0];
    if (x.dtype != first.dtype || x.shape.rank() != first.shape.rank() ||
        !(with_size(x.shape, dim, 0) == with_size(first.shape, dim, 0))) {
      throw PlanError("operand 0 is " + first.str() + ", operand " + std::to_string(i) + " is " + x.str() +
                      "; dtypes and all dims but dim " + std::to_string(dim) + " must be equal");
    }
    size += x.shape[dim];
  }
  return {{args.inputs[0].dtype, with_size(args.shape(0), dim, size)}};
}

std::vector<ValueId> concat_gradient(GradientBuilder& g) {
  const int64_t dim = g.attrs().integer("dim");
  std::vector<ValueId> result(static_cast<size_t>(g.inputs()));
  int64_t start = 0;
  for (int i = 0; i < g.inputs(); ++i) {
    const int64_t stop = start + g.type(g.input(i)).shape[static_cast<int>(dim)];
    if (g.needed(i)) {
      result[static_cast<size_t>(i)] = g.add("slice", {g.gradient()}, {{"dim", dim}, {"start", start}, {"stop", stop}});
    }
    start = stop;
  }
  return result;
}

void concat_cpu(const KernelArgs& args, Stream&) {
  const int dim = dim_attr(*args.attrs);
  int64_t start = 0;
  for (const TensorView& x : args.inputs) {
    copy_along(args.outputs[0], start, x, 0, dim, x.shape[dim]);
    start += x.shape[dim];
  }
}

std::vector<TensorType> infer_split(const OpArgs& args) {
  expect_operands(args, 1);
  const int dim = dim_of(args, "x");
  const std::vector<int64_t>& sizes = args.attrs.integers("sizes");
  std::vector<TensorType> result;
  int64_t total = 0;
  bool valid = !sizes.empty();
  for (int64_t size : sizes) {
    valid = valid && size >= 0;
    total += size;
  }
  if (!valid || total != args.shape(0)[dim]) {
    throw PlanError("sizes are [" + join(sizes, ",", [](int64_t n) { return std::to_string(n); }) + "], but " +
                    operand_text(args, 0, "x") + "; their sum must be x.dim(" + std::to_string(dim) +
                    ")=" + std::to_string(args.shape(0)[dim]));
  }
  for (int64_t size : sizes) result.push_back({args.inputs[0].dtype, with_size(args.shape(0), dim, size)});
  return result;
}

// A part that nothing depends on contributes zeros.
std::vector<ValueId> split_gradient(GradientBuilder& g) {
  const std::vector<int64_t>& sizes = g.attrs().integers("sizes");
  std::vector<ValueId> parts;
  for (int i = 0; i < static_cast<int>(sizes.size()); ++i) {
    const TensorType type = g.type(g.output(i));
    const Attrs zeros = {{"value", 0.0}, {"shape", type.shape.vector()}, {"dtype", std::string(name_of(type.dtype))}};
    parts.push_back(g.gradient(i).valid() ? g.gradient(i) : g.add("fill", {}, zeros));
  }
  return {g.add("concat", parts, {{"dim", g.attrs().integer("dim")}})};
}

void split_cpu(const KernelArgs& args, Stream&) {
  const int dim = dim_attr(*args.attrs);
  int64_t start = 0;
  for (const TensorView& y : args.outputs) {
    copy_along(y, 0, args.inputs[0], start, dim, y.shape[dim]);
    start += y.shape[dim];
  }
}

}  // namespace

OpDef slice() {
  return {.name = "slice",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y = the elements start..stop-1 of x along dim.",
          .rule_of = [](const OpArgs& args) { return rule_along(args.rank(0), args.attrs.integer("dim"), 1, 1); },
          .infer = infer_slice,
          .gradient = slice_gradient,
          .precision = Precision::follow,
          .cpu = slice_cpu};
}

// Zeros are the value of a sum of zeros and of their maximum and minimum alike, so every partial value passes.
OpDef pad() {
  return {.name = "pad",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y = x with `before` zeros in front and `after` zeros behind along dim.",
          .rule_of = [](const OpArgs& args) { return rule_along(args.rank(0), args.attrs.integer("dim"), 1, 1); },
          .infer = infer_pad,
          .gradient = pad_gradient,
          .precision = Precision::follow,
          .cpu = pad_cpu};
}

OpDef concat() {
  return {
      .name = "concat",
      .inputs = {"xs..."},
      .outputs = {"y"},
      .doc = "y = the operands one after another along dim.",
      .rule_of =
          [](const OpArgs& args) { return rule_along(args.rank(0), args.attrs.integer("dim"), args.inputs.size(), 1); },
      .infer = infer_concat,
      .gradient = concat_gradient,
      .precision = Precision::follow,
      .cpu = concat_cpu};
}

OpDef split() {
  return {.name = "split",
          .inputs = {"x"},
          .outputs = {"y..."},
          .doc = "The parts of x along dim, with the given sizes.",
          .rule_of =
              [](const OpArgs& args) {
                return rule_along(args.rank(0), args.attrs.integer("dim"), 1, args.attrs.integers("sizes").size());
              },
          .infer = infer_split,
          .gradient = split_gradient,
          .precision = Precision::follow,
          .cpu = split_cpu};
}

}  // namespace troupe::define
