// Two operands with NumPy's broadcasting: aligned at the last dim, dims of size one repeat.

#include <algorithm>

#include "ops/broadcast.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_pair(const OpArgs& args) {
  expect_operands(args, 2);
  expect_same_dtype(args, 0, "a", 1, "b");
  expect_any_number(args, 0, "a");
  return {{args.inputs[0].dtype, broadcast_shape(args)}};
}

std::vector<TensorType> infer_float_pair(const OpArgs& args) {
  expect_operands(args, 2);
  expect_any_float(args, 0, "a");
  return infer_pair(args);
}

template <class T>
T combine(cpu::BinaryOp op, T a, T b) {
  switch (op) {
    case cpu::BinaryOp::kAdd:
      return a + b;
    case cpu::BinaryOp::kSub:
      return a - b;
    case cpu::BinaryOp::kMul:
      return a * b;
    case cpu::BinaryOp::kMin:
      return std::min(a, b);
    case cpu::BinaryOp::kMax:
      return std::max(a, b);
    case cpu::BinaryOp::kDiv:
    case cpu::BinaryOp::kPow:
      break;
  }
  CHECK(false, "no such operation on integers", static_cast<int>(op));
  return a;
}

template <cpu::BinaryOp op>
void pair_cpu(const KernelArgs& args, Stream&) {
  const TensorView& a = args.inputs[0];
  const TensorView& b = args.inputs[1];
  const TensorView& y = args.outputs[0];
  with_number(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_floating_point_v<T>) {
      const Dims a_strides = strides_in(a.shape, y.shape);
      const Dims b_strides = strides_in(b.shape, y.shape);
      cpu::binary_broadcast<T>(op, y.as<T>(), a.as<T>(), a_strides.begin(), b.as<T>(), b_strides.begin(),
                               y.shape.begin(), y.shape.rank());
    } else {
      map_broadcast(y.as<T>(), a.as<T>(), a.shape, b.as<T>(), b.shape, y.shape,
                    [](T p, T q) { return combine(op, p, q); });
    }
  });
}

// Sums a gradient of y's shape over the dims along which the operand was repeated.
ValueId for_operand(GradientBuilder& g, int operand, ValueId gradient) {
  const Shape& shape = g.type(g.input(operand)).shape;
  if (g.type(gradient).shape == shape) return gradient;
  return g.add("sum_to", {gradient}, {{"shape", shape.vector()}});
}

// The gradients of both operands, each made only where it is needed.
template <class A, class B>
std::vector<ValueId> pair_gradient(GradientBuilder& g, A&& of_a, B&& of_b) {
  return {g.needed(0) ? for_operand(g, 0, of_a()) : ValueId(), g.needed(1) ? for_operand(g, 1, of_b()) : ValueId()};
}

std::vector<ValueId> add_gradient(GradientBuilder& g) {
  return pair_gradient(g, [&] { return g.gradient(); }, [&] { return g.gradient(); });
}

std::vector<ValueId> sub_gradient(GradientBuilder& g) {
  return pair_gradient(g, [&] { return g.gradient(); }, [&] { return g.add("neg", {g.gradient()}); });
}

std::vector<ValueId> mul_gradient(GradientBuilder& g) {
  return pair_gradient(
      g, [&] { return g.add("mul", {g.gradient(), g.input(1)}); },
      [&] { return g.add("mul", {g.gradient(), g.input(0)}); });
}

// da = dy / b, db = -dy y / b.
std::vector<ValueId> div_gradient(GradientBuilder& g) {
  return pair_gradient(
      g, [&] { return g.add("div", {g.gradient(), g.input(1)}); },
      [&] { return g.add("neg", {g.add("mul", {g.gradient(), g.add("div", {g.output(0), g.input(1)})})}); });
}

// dy goes to the operand that was taken, half to each where they are equal; `lost` says where an operand was not.
template <class Lost>
ValueId share_of(GradientBuilder& g, Lost&& lost) {
  const Attrs scalar = {
      {"value", 0.0}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string(name_of(g.type(g.gradient()).dtype))}};
  const ValueId half = g.add("mul_scalar", {g.gradient()}, {{"value", 0.5}});
  const ValueId shared = g.add("where", {g.add("equal", {g.input(0), g.input(1)}), half, g.gradient()});
  return g.add("where", {lost(), g.add("fill", {}, scalar), shared});
}

std::vector<ValueId> minimum_gradient(GradientBuilder& g) {
  const auto less = [&](int a, int b) { return g.add("less", {g.input(a), g.input(b)}); };
  return pair_gradient(
      g, [&] { return share_of(g, [&] { return less(1, 0); }); },
      [&] { return share_of(g, [&] { return less(0, 1); }); });
}

std::vector<ValueId> maximum_gradient(GradientBuilder& g) {
  const auto less = [&](int a, int b) { return g.add("less", {g.input(a), g.input(b)}); };
  return pair_gradient(
      g, [&] { return share_of(g, [&] { return less(0, 1); }); },
      [&] { return share_of(g, [&] { return less(1, 0); }); });
}

OpDef pair(const char* name, const char* doc, std::string (*rule_of)(const OpArgs&), Kernel cpu,
           std::vector<ValueId> (*gradient)(GradientBuilder&)) {
  return {.name = name,
          .inputs = {"a", "b"},
          .outputs = {"y"},
          .doc = doc,
          .rule_of = rule_of,
          .infer = infer_pair,
          .gradient = gradient,
          .precision = Precision::follow,
          .cpu = cpu,
          .scratch_bytes = scratch_in_float32<infer_pair>,
          .in_place = {{0, 0}, {0, 1}}};
}

std::string additive(const OpArgs& args) { return broadcast_rule(args, "additive"); }
std::string linear_in_each(const OpArgs& args) { return broadcast_rule(args, "linear"); }
// Against a whole operand the smaller (larger) of two is an increasing function of the other.
std::string increasing_in_each(const OpArgs& args) { return broadcast_rule(args, "increasing(0), increasing(1)"); }
std::string linear_in_first(const OpArgs& args) { return broadcast_rule(args, "linear(0)"); }

}  // namespace

OpDef add() {
  return pair("add", "y = a + b, broadcasting.", additive, in_float32<pair_cpu<cpu::BinaryOp::kAdd>>, add_gradient);
}

OpDef sub() {
  return pair("sub", "y = a - b, broadcasting.", additive, in_float32<pair_cpu<cpu::BinaryOp::kSub>>, sub_gradient);
}

OpDef mul() {
  return pair("mul", "y = a * b, broadcasting.", linear_in_each, in_float32<pair_cpu<cpu::BinaryOp::kMul>>,
              mul_gradient);
}

OpDef div() {
  OpDef op =
      pair("div", "y = a / b, broadcasting.", linear_in_first, in_float32<pair_cpu<cpu::BinaryOp::kDiv>>, div_gradient);
  op.infer = infer_float_pair;
  return op;
}

OpDef minimum() {
  return pair("minimum", "y = the smaller of a and b, broadcasting.", increasing_in_each,
              in_float32<pair_cpu<cpu::BinaryOp::kMin>>, minimum_gradient);
}

OpDef maximum() {
  return pair("maximum", "y = the larger of a and b, broadcasting.", increasing_in_each,
              in_float32<pair_cpu<cpu::BinaryOp::kMax>>, maximum_gradient);
}

}  // namespace troupe::define
