// The non-linear functions between layers, and their derivatives in one pass.

#include "ops/cpu/pointwise.h"
#include "ops/definitions.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/pointwise.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::string any_split(const OpArgs& args) { return pointwise_rule(args); }
std::string increasing(const OpArgs& args) { return pointwise_rule(args, "increasing"); }
// dx is linear in dy, the second operand.
std::string linear_in_dy(const OpArgs& args) { return pointwise_rule(args, "linear(1)"); }

bool approximate(const Attrs& attrs) { return attrs.integer("approximate", 0) != 0; }

std::vector<ValueId> gelu_backward(GradientBuilder& g) {
  return {g.add("gelu_gradient", {g.input(0), g.gradient()}, g.attrs())};
}

void gelu_cpu(const KernelArgs& args, Stream& stream) {
  return approximate(*args.attrs) ? unary_cpu<cpu::gelu_tanh<float>, cpu::gelu_tanh<double>>(args, stream)
                                  : unary_cpu<cpu::gelu<float>, cpu::gelu<double>>(args, stream);
}

void gelu_gradient_cpu(const KernelArgs& args, Stream& stream) {
  return approximate(*args.attrs)
             ? derivative_cpu<cpu::gelu_tanh_backward<float>, cpu::gelu_tanh_backward<double>>(args, stream)
             : derivative_cpu<cpu::gelu_backward<float>, cpu::gelu_backward<double>>(args, stream);
}

OpDef function_of_x(const char* name, const char* doc, std::vector<ValueId> (*gradient)(GradientBuilder&), Kernel cpu) {
  return {.name = name,
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = doc,
          .rule_of = increasing,
          .infer = infer_same_any_float,
          .gradient = gradient,
          .precision = Precision::follow,
          .cpu = cpu,
          .scratch_bytes = block_scratch,
          .in_place = {{0, 0}}};
}

// `saved` is what the forward pass keeps: x or y.
OpDef derivative(const char* name, const char* saved, const char* doc, Kernel cpu) {
  return {.name = name,
          .inputs = {saved, "dy"},
          .outputs = {"dx"},
          .doc = doc,
          .rule_of = linear_in_dy,
          .infer = infer_same_any_float,
          .precision = Precision::follow,
          .cpu = cpu,
          .scratch_bytes = block_scratch,
          .in_place = {{0, 1}, {0, 0}}};
}

}  // namespace

OpDef gelu() {
  OpDef op = function_of_x("gelu",
                           "y = x/2 (1 + erf(x/sqrt 2)); approximate=1: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).",
                           gelu_backward, in_float32_blocks<gelu_cpu>);
  op.rule_of = any_split;  // it falls before it rises
  return op;
}

OpDef gelu_gradient() {
  return derivative("gelu_gradient", "x", "dx = dy times the derivative of gelu at x.",
                    in_float32_blocks<gelu_gradient_cpu>);
}

OpDef relu() {
  return function_of_x(
      "relu", "y = max(x, 0).",
      [](GradientBuilder& g) { return std::vector{g.add("relu_gradient", {g.output(0), g.gradient()})}; },
      in_float32_blocks<unary_cpu<cpu::relu<float>, cpu::relu<double>>>);
}

OpDef relu_gradient() {
  return derivative("relu_gradient", "y", "dx = dy where y > 0, else 0.",
                    in_float32_blocks<derivative_cpu<cpu::relu_backward<float>, cpu::relu_backward<double>>>);
}

OpDef tanh() {
  return function_of_x(
      "tanh", "y = tanh(x).",
      [](GradientBuilder& g) { return std::vector{g.add("tanh_gradient", {g.output(0), g.gradient()})}; },
      in_float32_blocks<unary_cpu<cpu::tanh<float>, cpu::tanh<double>>>);
}

OpDef tanh_gradient() {
  return derivative("tanh_gradient", "y", "dx = dy (1 - y^2).",
                    in_float32_blocks<derivative_cpu<cpu::tanh_backward<float>, cpu::tanh_backward<double>>>);
}

OpDef sigmoid() {
  return function_of_x(
      "sigmoid", "y = 1 / (1 + exp(-x)).",
      [](GradientBuilder& g) { return std::vector{g.add("sigmoid_gradient", {g.output(0), g.gradient()})}; },
      in_float32_blocks<unary_cpu<cpu::sigmoid<float>, cpu::sigmoid<double>>>);
}

OpDef sigmoid_gradient() {
  return derivative("sigmoid_gradient", "y", "dx = dy y (1 - y).",
                    in_float32_blocks<derivative_cpu<cpu::sigmoid_backward<float>, cpu::sigmoid_backward<double>>>);
}

OpDef silu() {
  OpDef op = function_of_x(
      "silu", "y = x / (1 + exp(-x)).",
      [](GradientBuilder& g) { return std::vector{g.add("silu_gradient", {g.input(0), g.gradient()})}; },
      in_float32_blocks<unary_cpu<cpu::silu<float>, cpu::silu<double>>>);
  op.rule_of = any_split;  // it falls before it rises
  return op;
}

OpDef silu_gradient() {
  return derivative("silu_gradient", "x", "dx = dy times the derivative of silu at x.",
                    in_float32_blocks<derivative_cpu<cpu::silu_backward<float>, cpu::silu_backward<double>>>);
}

}  // namespace troupe::define
