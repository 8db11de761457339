// One operand and the attribute `value`.

#include "ops/cpu/pointwise.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_scalar(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "x");
  args.attrs.number("value");
  return {args.inputs[0]};
}

template <cpu::BinaryOp op>
void x_and_value(const KernelArgs& args, Stream&) {
  const TensorView& y = args.outputs[0];
  with_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::binary_scalar<T>(op, y.as<T>(), args.inputs[0].as<T>(), static_cast<T>(args.attrs->number("value")),
                          y.elements());
  });
}

template <cpu::BinaryOp op>
void value_and_x(const KernelArgs& args, Stream&) {
  const TensorView& y = args.outputs[0];
  with_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::scalar_binary<T>(op, y.as<T>(), static_cast<T>(args.attrs->number("value")), args.inputs[0].as<T>(),
                          y.elements());
  });
}

std::string any_split(const OpArgs& args) { return pointwise_rule(args); }
std::string increasing(const OpArgs& args) { return pointwise_rule(args, "increasing"); }
std::string scaling_rule(const OpArgs& args) {
  return pointwise_rule(args, args.attrs.number("value") >= 0 ? "additive, increasing" : "additive");
}

double value_of(GradientBuilder& g) { return g.attrs().number("value"); }

ValueId scaled(GradientBuilder& g, double factor, ValueId x) { return g.add("mul_scalar", {x}, {{"value", factor}}); }

ValueId constant(GradientBuilder& g, double value) {
  return g.add("fill", {},
               {{"value", value},
                {"shape", std::vector<int64_t>{}},
                {"dtype", std::string(name_of(g.type(g.gradient()).dtype))}});
}

// d(c / x) = -y / x.
std::vector<ValueId> rdiv_gradient(GradientBuilder& g) {
  return {g.add("neg", {g.add("div", {g.add("mul", {g.gradient(), g.output(0)}), g.input(0)})})};
}

std::vector<ValueId> pow_gradient(GradientBuilder& g) {
  const double power = value_of(g);
  if (power == 0) return {scaled(g, 0, g.gradient())};
  const ValueId slope = scaled(g, power, g.add("pow_scalar", {g.input(0)}, {{"value", power - 1}}));
  return {g.add("mul", {g.gradient(), slope})};
}

// dy passes where x was taken; where x equals the value too, as PyTorch's clamp has it.
std::vector<ValueId> minimum_gradient(GradientBuilder& g) {
  const ValueId beyond = g.add("less", {constant(g, value_of(g)), g.input(0)});
  return {g.add("where", {beyond, constant(g, 0), g.gradient()})};
}

std::vector<ValueId> maximum_gradient(GradientBuilder& g) {
  const ValueId beyond = g.add("less", {g.input(0), constant(g, value_of(g))});
  return {g.add("where", {beyond, constant(g, 0), g.gradient()})};
}

OpDef with_value(const char* name, const char* doc, std::string (*rule_of)(const OpArgs&), Kernel cpu,
                 std::vector<ValueId> (*gradient)(GradientBuilder&)) {
  return {.name = name,
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = doc,
          .rule_of = rule_of,
          .infer = infer_scalar,
          .gradient = gradient,
          .precision = Precision::follow,
          .cpu = cpu,
          .scratch_bytes = block_scratch,
          .in_place = {{0, 0}}};
}

}  // namespace

OpDef add_scalar() {
  return with_value("add_scalar", "y = x + value.", increasing, in_float32_blocks<x_and_value<cpu::BinaryOp::kAdd>>,
                    [](GradientBuilder& g) { return std::vector{g.gradient()}; });
}

OpDef mul_scalar() {
  return with_value("mul_scalar", "y = x * value.", scaling_rule, in_float32_blocks<x_and_value<cpu::BinaryOp::kMul>>,
                    [](GradientBuilder& g) { return std::vector{scaled(g, value_of(g), g.gradient())}; });
}

OpDef rsub_scalar() {
  return with_value("rsub_scalar", "y = value - x.", any_split, in_float32_blocks<value_and_x<cpu::BinaryOp::kSub>>,
                    [](GradientBuilder& g) { return std::vector{g.add("neg", {g.gradient()})}; });
}

OpDef rdiv_scalar() {
  return with_value("rdiv_scalar", "y = value / x.", any_split, in_float32_blocks<value_and_x<cpu::BinaryOp::kDiv>>,
                    rdiv_gradient);
}

OpDef pow_scalar() {
  return with_value("pow_scalar", "y = x to the power of value.", any_split,
                    in_float32_blocks<x_and_value<cpu::BinaryOp::kPow>>, pow_gradient);
}

OpDef minimum_scalar() {
  return with_value("minimum_scalar", "y = the smaller of x and value.", increasing,
                    in_float32_blocks<x_and_value<cpu::BinaryOp::kMin>>, minimum_gradient);
}

OpDef maximum_scalar() {
  return with_value("maximum_scalar", "y = the larger of x and value.", increasing,
                    in_float32_blocks<x_and_value<cpu::BinaryOp::kMax>>, maximum_gradient);
}

}  // namespace troupe::define
