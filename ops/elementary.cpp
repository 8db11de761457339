// Functions of one tensor, element by element, whose gradients are made of other ops.

#include "ops/cpu/pointwise.h"
#include "ops/definitions.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/pointwise.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::string any_split(const OpArgs& args) { return pointwise_rule(args); }
std::string increasing(const OpArgs& args) { return pointwise_rule(args, "increasing"); }
std::string additive(const OpArgs& args) { return pointwise_rule(args, "additive"); }

OpDef elementary(const char* name, const char* doc, std::string (*rule_of)(const OpArgs&), Kernel cpu,
                 std::vector<ValueId> (*gradient)(GradientBuilder&)) {
  return {.name = name,
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = doc,
          .rule_of = rule_of,
          .infer = infer_same_float,
          .gradient = gradient,
          .cpu = cpu,
          .in_place = {{0, 0}}};
}

ValueId scaled(GradientBuilder& g, double factor, ValueId x) { return g.add("mul_scalar", {x}, {{"value", factor}}); }

// dy times `derivative`.
std::vector<ValueId> times(GradientBuilder& g, ValueId derivative) {
  return {g.add("mul", {g.gradient(), derivative})};
}

std::vector<ValueId> sqrt_gradient(GradientBuilder& g) {
  return {scaled(g, 0.5, g.add("div", {g.gradient(), g.output(0)}))};
}

std::vector<ValueId> rsqrt_gradient(GradientBuilder& g) {
  return times(g, scaled(g, -0.5, g.add("pow_scalar", {g.output(0)}, {{"value", 3.0}})));
}

}  // namespace

OpDef exp() {
  return elementary("exp", "y = e^x.", increasing, unary_cpu<cpu::exp<float>, cpu::exp<double>>,
                    [](GradientBuilder& g) { return times(g, g.output(0)); });
}

OpDef log() {
  return elementary("log", "y = ln x.", increasing, unary_cpu<cpu::log<float>, cpu::log<double>>,
                    [](GradientBuilder& g) { return std::vector{g.add("div", {g.gradient(), g.input(0)})}; });
}

OpDef softplus() {
  return elementary("softplus", "y = ln(1 + e^x).", increasing, unary_cpu<cpu::softplus<float>, cpu::softplus<double>>,
                    [](GradientBuilder& g) { return times(g, g.add("sigmoid", {g.input(0)})); });
}

OpDef sqrt() {
  return elementary("sqrt", "y = the square root of x.", increasing, unary_cpu<cpu::sqrt<float>, cpu::sqrt<double>>,
                    sqrt_gradient);
}

OpDef rsqrt() {
  return elementary("rsqrt", "y = 1 / the square root of x.", any_split,
                    unary_cpu<cpu::rsqrt<float>, cpu::rsqrt<double>>, rsqrt_gradient);
}

OpDef neg() {
  return elementary("neg", "y = -x.", additive, unary_cpu<cpu::neg<float>, cpu::neg<double>>,
                    [](GradientBuilder& g) { return std::vector{g.add("neg", {g.gradient()})}; });
}

OpDef abs() {
  return elementary("abs", "y = |x|.", any_split, unary_cpu<cpu::abs<float>, cpu::abs<double>>,
                    [](GradientBuilder& g) { return times(g, g.add("sign", {g.input(0)})); });
}

OpDef sign() {
  return elementary("sign", "y = -1, 0 or 1 where x is negative, 0 or positive; its gradient is 0 everywhere.",
                    increasing, unary_cpu<cpu::sign<float>, cpu::sign<double>>,
                    [](GradientBuilder&) { return std::vector{ValueId()}; });
}

OpDef cos() {
  return elementary("cos", "y = cos x.", any_split, unary_cpu<cpu::cos<float>, cpu::cos<double>>,
                    [](GradientBuilder& g) { return times(g, g.add("neg", {g.add("sin", {g.input(0)})})); });
}

OpDef sin() {
  return elementary("sin", "y = sin x.", any_split, unary_cpu<cpu::sin<float>, cpu::sin<double>>,
                    [](GradientBuilder& g) { return times(g, g.add("cos", {g.input(0)})); });
}

OpDef square() {
  return elementary("square", "y = x^2.", any_split, unary_cpu<cpu::square<float>, cpu::square<double>>,
                    [](GradientBuilder& g) { return times(g, scaled(g, 2, g.input(0))); });
}

}  // namespace troupe::define
