#include <algorithm>

#include "ops/cpu/movement.h"
#include "ops/cpu/pointwise.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_add_n(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_number(args, 0, "operand 0");
  for (int i = 1; i < static_cast<int>(args.inputs.size()); ++i) {
    expect_same_type(args, 0, "operand 0", i, ("operand " + std::to_string(i)).c_str());
  }
  return {args.inputs[0]};
}

std::vector<ValueId> add_n_gradient(GradientBuilder& g) {
  return std::vector<ValueId>(static_cast<size_t>(g.inputs()), g.gradient());
}

template <class T>
void add(T* out, const T* a, const T* b, int64_t n) {
  if constexpr (std::is_floating_point_v<T>) {
    cpu::add_to(out, a, b, n);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
  }
}

// Added in float32 and rounded once.
template <LowFloat T>
void add_low(T* out, std::span<const TensorView> xs, int64_t n) {
  constexpr int64_t kBlock = 1024;
  float sum[kBlock], term[kBlock];
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    cpu::cast<float, T>(sum, xs[0].as<T>() + first, count);
    for (const TensorView& x : xs.subspan(1)) {
      cpu::cast<float, T>(term, x.as<T>() + first, count);
      cpu::add_to(sum, sum, term, count);
    }
    cpu::cast<T, float>(out + first, sum, count);
  }
}

// From left to right: ((x0 + x1) + x2) + ..; the order in which a shared variable's uses stand in the graph.
void add_n_cpu(const KernelArgs& args, Stream&) {
  const TensorView& y = args.outputs[0];
  const auto xs = args.inputs;
  if (xs.size() == 1) return copy_unless_in_place(y, xs[0]);
  if (is_low(y.dtype)) {
    return with_low(y.dtype, [&](auto zero) { add_low(y.as<decltype(zero)>(), xs, y.elements()); });
  }
  with_number(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    add(y.as<T>(), xs[0].as<T>(), xs[1].as<T>(), y.elements());
    for (size_t i = 2; i < xs.size(); ++i) add(y.as<T>(), y.as<T>(), xs[i].as<T>(), y.elements());
  });
}

}  // namespace

// In place of the first operand only: y is written before the third is read, and there may be just one.
OpDef add_n() {
  return {.name = "add_n",
          .inputs = {"xs..."},
          .outputs = {"y"},
          .doc = "y = the sum of all operands, which have one type, added from left to right.",
          .rule_of = [](const OpArgs& args) { return pointwise_rule(args, "additive"); },
          .infer = infer_add_n,
          .gradient = add_n_gradient,
          .precision = Precision::follow,
          .cpu = add_n_cpu,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
