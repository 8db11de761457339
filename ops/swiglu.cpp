// The gated unit between the linear layers of Llama's MLP, and its gradients in one pass.

#include "ops/cpu/swiglu.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_swiglu(const OpArgs& args) {
  expect_operands(args, 2);
  expect_any_float(args, 0, "gate");
  expect_same_type(args, 0, "gate", 1, "up");
  return {args.inputs[0]};
}

std::vector<ValueId> backward(GradientBuilder& g) {
  return g.add_all("swiglu_gradient", {g.input(0), g.input(1), g.gradient()});
}

void swiglu_cpu(const KernelArgs& args, Stream&) {
  const TensorView& y = args.outputs[0];
  with_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::swiglu<T>(y.as<T>(), args.inputs[0].as<T>(), args.inputs[1].as<T>(), y.elements());
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 3);
  infer_swiglu(args);
  expect_same_type(args, 2, "dy", 0, "gate");
  return {args.inputs[0], args.inputs[1]};
}

// Only dgate has `up` in it, which no rule says.
std::vector<Signature> gradient_signatures(const OpArgs& args, int) {
  const std::string x = dim_names(args.rank(0));
  std::vector<Signature> result = signatures_from(x + ", " + x + ", " + x + " -> " + x + ", " + x + "; linear(2)");
  result.push_back({{B, P, B}, {P, B}});
  return result;
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& dgate = args.outputs[0];
  with_float(dgate.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::swiglu_backward<T>(dgate.as<T>(), args.outputs[1].as<T>(), args.inputs[2].as<T>(), args.inputs[0].as<T>(),
                            args.inputs[1].as<T>(), dgate.elements());
  });
}

}  // namespace

OpDef swiglu() {
  return {.name = "swiglu",
          .inputs = {"gate", "up"},
          .outputs = {"y"},
          .doc = "y = silu(gate) up, with silu(x) = x / (1 + exp(-x)).",
          .rule_of = [](const OpArgs& args) { return pointwise_rule(args, "linear(1)"); },
          .infer = infer_swiglu,
          .gradient = backward,
          .precision = Precision::follow,
          .cpu = in_float32_blocks<swiglu_cpu>,
          .scratch_bytes = block_scratch,
          .in_place = {{0, 0}, {0, 1}}};
}

OpDef swiglu_gradient() {
  return {.name = "swiglu_gradient",
          .inputs = {"gate", "up", "dy"},
          .outputs = {"dgate", "dup"},
          .doc = "dgate = dy up times the derivative of silu at gate, dup = dy silu(gate).",
          .signatures = gradient_signatures,
          .infer = infer_gradient,
          .precision = Precision::follow,
          .cpu = in_float32_blocks<gradient_cpu>,
          .scratch_bytes = block_scratch,
          .in_place = {{0, 2}, {0, 0}, {1, 1}}};
}

}  // namespace troupe::define
