// Comparisons and the choice between two tensors, broadcasting.

#include "ops/broadcast.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_compare(const OpArgs& args) {
  expect_operands(args, 2);
  expect_same_dtype(args, 0, "a", 1, "b");
  expect_number(args, 0, "a");
  return {{DType::b8, broadcast_shape(args)}};
}

template <cpu::CompareOp op>
void compare_cpu(const KernelArgs& args, Stream&) {
  const TensorView& a = args.inputs[0];
  const TensorView& b = args.inputs[1];
  const TensorView& y = args.outputs[0];
  const Dims a_strides = strides_in(a.shape, y.shape);
  const Dims b_strides = strides_in(b.shape, y.shape);
  with_number(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::compare_broadcast<T>(op, y.as<uint8_t>(), a.as<T>(), a_strides.begin(), b.as<T>(), b_strides.begin(),
                              y.shape.begin(), y.shape.rank());
  });
}

std::vector<ValueId> no_gradient(GradientBuilder& g) { return std::vector<ValueId>(static_cast<size_t>(g.inputs())); }

OpDef comparison(const char* name, const char* doc, Kernel cpu) {
  return {.name = name,
          .inputs = {"a", "b"},
          .outputs = {"y"},
          .doc = doc,
          .rule_of = [](const OpArgs& args) { return broadcast_rule(args); },
          .infer = infer_compare,
          .gradient = no_gradient,
          .cpu = cpu};
}

std::vector<TensorType> infer_where(const OpArgs& args) {
  expect_operands(args, 3);
  if (args.inputs[0].dtype != DType::b8) {
    throw PlanError(operand_text(args, 0, "condition") + ", but must be bool; compare it");
  }
  expect_same_dtype(args, 1, "x", 2, "y");
  expect_number(args, 1, "x");
  return {{args.inputs[1].dtype, broadcast_shape(args)}};
}

// Where the condition is whole, the choice is the same on every device: it only moves elements of x and y.
std::string where_rule(const OpArgs& args) { return broadcast_rule(args, "movement(1 2)"); }

std::vector<ValueId> where_gradient(GradientBuilder& g) {
  const Attrs scalar = {
      {"value", 0.0}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string(name_of(g.type(g.gradient()).dtype))}};
  const ValueId zero = g.add("fill", {}, scalar);
  std::vector<ValueId> result(3);
  for (int i = 1; i <= 2; ++i) {
    if (!g.needed(i)) continue;
    const ValueId dy = g.gradient();
    ValueId part = g.add("where", {g.input(0), i == 1 ? dy : zero, i == 1 ? zero : dy});
    const Shape& shape = g.type(g.input(i)).shape;
    if (!(g.type(part).shape == shape)) part = g.add("sum_to", {part}, {{"shape", shape.vector()}});
    result[static_cast<size_t>(i)] = part;
  }
  return result;
}

void where_cpu(const KernelArgs& args, Stream&) {
  const TensorView& out = args.outputs[0];
  const auto strides = [&](int i) { return strides_in(args.inputs[static_cast<size_t>(i)].shape, out.shape); };
  const Dims condition = strides(0);
  const Dims x = strides(1);
  const Dims y = strides(2);
  with_number(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::where_broadcast<T>(out.as<T>(), args.inputs[0].as<uint8_t>(), condition.begin(), args.inputs[1].as<T>(),
                            x.begin(), args.inputs[2].as<T>(), y.begin(), out.shape.begin(), out.shape.rank());
  });
}

}  // namespace

OpDef equal() {
  return comparison("equal", "y = a == b, broadcasting; NaN equals nothing.", compare_cpu<cpu::CompareOp::kEqual>);
}

OpDef less() {
  return comparison("less", "y = a < b, broadcasting; false where one is NaN.", compare_cpu<cpu::CompareOp::kLess>);
}

OpDef where() {
  return {.name = "where",
          .inputs = {"condition", "x", "y"},
          .outputs = {"z"},
          .doc = "z = x where the condition holds, else y, broadcasting.",
          .rule_of = where_rule,
          .infer = infer_where,
          .gradient = where_gradient,
          .cpu = where_cpu,
          .in_place = {{0, 1}, {0, 2}}};
}

}  // namespace troupe::define
