// Nodes that bring a tensor into the step or say where it lies; they compute nothing.

#include "ops/cpu/movement.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_from_outside(const OpArgs&) {
  throw PlanError("is not added like an op: the graph makes one for every variable and source");
}

// The rank is the graph's to know; signatures of dims that the tensor does not have mean nothing.
std::vector<Signature> from_outside(const OpArgs&, int) { return made_anywhere(kMaxRank); }

std::vector<TensorType> infer_fill(const OpArgs& args) {
  args.attrs.number("value");
  return {{dtype_attr(args.attrs), shape_attr(args.attrs)}};
}

void fill_cpu(const KernelArgs& args, Stream&) {
  const TensorView& out = args.outputs[0];
  with_any(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::fill(out.as<T>(), static_cast<T>(args.attrs->number("value")), out.elements());
  });
}

void to_layout_cpu(const KernelArgs& args, Stream&) { copy_unless_in_place(args.outputs[0], args.inputs[0]); }

}  // namespace

OpDef variable() {
  return {.name = "variable",
          .inputs = {},
          .outputs = {"value"},
          .doc = "The value of a variable at the start of the step.",
          .signatures = from_outside,
          .infer = infer_from_outside};
}

OpDef source() {
  return {.name = "source",
          .inputs = {},
          .outputs = {"value"},
          .doc = "The pieces of data of this round.",
          .signatures = from_outside,
          .infer = infer_from_outside};
}

OpDef fill() {
  return {.name = "fill",
          .inputs = {},
          .outputs = {"y"},
          .doc = "y has the attribute value in every element.",
          .signatures = [](const OpArgs& args, int) { return made_anywhere(shape_attr(args.attrs).rank()); },
          .infer = infer_fill,
          .cpu = fill_cpu};
}

// The planner gives x and y layouts of their own and boxes between them; what is left is the identity.
OpDef to_layout() {
  return {.name = "to_layout",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y = x, in the layout that the user asks for.",
          .rule_of = [](const OpArgs& args) { return pointwise_rule(args, "movement"); },
          .infer = infer_any_same,
          .gradient = [](GradientBuilder& g) { return std::vector{g.add("to_layout", {g.gradient()})}; },
          .precision = Precision::follow,
          .cpu = to_layout_cpu,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
