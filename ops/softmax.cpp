// Softmax and its logarithm over the attribute `dim`, which cannot be split.

#include "ops/cpu/softmax.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_softmax(const OpArgs& args) {
  dim_of(args, "x");
  return infer_same_float(args);
}

std::string rule_except_dim(const OpArgs& args, const char* notes) {
  return pointwise_rule(args, "!d" + std::to_string(args.attrs.integer("dim")) + notes);
}

// x seen as [outer, n, inner] around `dim`.
struct Around {
  int64_t outer = 1, n = 1, inner = 1;
};

Around around_dim(const Shape& shape, int64_t dim) {
  Around around;
  for (int d = 0; d < shape.rank(); ++d) (d < dim ? around.outer : d == dim ? around.n : around.inner) *= shape[d];
  return around;
}

template <auto f32, auto f64>
void softmax_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  const auto [outer, n, inner] = around_dim(x.shape, args.attrs->integer("dim"));
  if (x.dtype == DType::f32) {
    f32(y.as<float>(), x.as<float>(), outer, n, inner);
  } else {
    f64(y.as<double>(), x.as<double>(), outer, n, inner);
  }
}

template <auto f32, auto f64>
void softmax_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& y = args.inputs[0];
  const TensorView& dy = args.inputs[1];
  const TensorView& dx = args.outputs[0];
  const auto [outer, n, inner] = around_dim(y.shape, args.attrs->integer("dim"));
  if (y.dtype == DType::f32) {
    f32(dx.as<float>(), dy.as<float>(), y.as<float>(), outer, n, inner);
  } else {
    f64(dx.as<double>(), dy.as<double>(), y.as<double>(), outer, n, inner);
  }
}

OpDef forward(const char* name, const char* doc, Kernel cpu, std::vector<ValueId> (*gradient)(GradientBuilder&)) {
  return {.name = name,
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = doc,
          .rule_of = [](const OpArgs& args) { return rule_except_dim(args, ""); },
          .infer = infer_softmax,
          .gradient = gradient,
          .cpu = cpu,
          .in_place = {{0, 0}}};
}

OpDef backward(const char* name, const char* doc, Kernel cpu) {
  return {.name = name,
          .inputs = {"y", "dy"},
          .outputs = {"dx"},
          .doc = doc,
          .rule_of = [](const OpArgs& args) { return rule_except_dim(args, ", linear(1)"); },
          .infer = infer_softmax,
          .cpu = cpu,
          .in_place = {{0, 1}}};
}

}  // namespace

OpDef softmax() {
  return forward("softmax", "y = exp(x) / sum exp(x) over dim.",
                 softmax_cpu<cpu::softmax_forward_strided<float>, cpu::softmax_forward_strided<double>>,
                 [](GradientBuilder& g) {
                   return std::vector{g.add("softmax_gradient", {g.output(0), g.gradient()}, g.attrs())};
                 });
}

OpDef softmax_gradient() {
  return backward("softmax_gradient", "dx = y (dy - sum over dim of dy y).",
                  softmax_gradient_cpu<cpu::softmax_backward_strided<float>, cpu::softmax_backward_strided<double>>);
}

OpDef log_softmax() {
  return forward("log_softmax", "y = x - log sum exp(x) over dim.",
                 softmax_cpu<cpu::log_softmax_forward_strided<float>, cpu::log_softmax_forward_strided<double>>,
                 [](GradientBuilder& g) {
                   return std::vector{g.add("log_softmax_gradient", {g.output(0), g.gradient()}, g.attrs())};
                 });
}

OpDef log_softmax_gradient() {
  return backward(
      "log_softmax_gradient", "dx = dy - exp(y) sum over dim of dy.",
      softmax_gradient_cpu<cpu::log_softmax_backward_strided<float>, cpu::log_softmax_backward_strided<double>>);
}

}  // namespace troupe::define
