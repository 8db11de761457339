#include "ops/cpu/movement.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_cast(const OpArgs& args) {
  expect_operands(args, 1);
  return {{dtype_attr(args.attrs), args.shape(0)}};
}

// A sum passes where the terms keep (nearly) all they have: between floats, from integers to floats or longer
// integers. Truncation to an integer still increases; "is it zero" does not.
std::string cast_rule(const OpArgs& args) {
  const DType from = args.inputs[0].dtype;
  const DType to = dtype_attr(args.attrs);
  if (to == DType::b8 || from == DType::b8) return pointwise_rule(args);
  if (is_float(to) || size_of(to) >= size_of(from)) {
    return pointwise_rule(args, is_float(from) && !is_float(to) ? "increasing" : "additive, increasing");
  }
  return pointwise_rule(args, is_float(from) ? "increasing" : "");
}

std::vector<ValueId> cast_gradient(GradientBuilder& g) {
  return {g.add("cast", {g.gradient()}, {{"dtype", std::string(name_of(g.type(g.input(0)).dtype))}})};
}

// u8 has the C++ type of a bool, and ops/cpu casts to that as to a bool.
uint8_t to_byte(double value) { return static_cast<uint8_t>(value > 255 ? 255 : value > 0 ? value : 0); }

void cast_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  if (x.dtype == y.dtype) return copy_unless_in_place(y, x);
  with_any(x.dtype, [&](auto from) {
    using From = decltype(from);
    if (y.dtype == DType::u8) {
      for (int64_t i = 0; i < y.elements(); ++i) y.as<uint8_t>()[i] = to_byte(static_cast<double>(x.as<From>()[i]));
      return;
    }
    with_any(y.dtype, [&](auto to) {
      using To = decltype(to);
      cpu::cast<To, From>(y.as<To>(), x.as<From>(), y.elements());
    });
  });
}

}  // namespace

OpDef cast() {
  return {.name = "cast",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y = x in the attribute dtype; to integers by truncation, to bool by x != 0.",
          .rule_of = cast_rule,
          .infer = infer_cast,
          .gradient = cast_gradient,
          .cpu = cast_cpu};
}

}  // namespace troupe::define
