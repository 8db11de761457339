// The logits of a margin softmax. Only the shard that holds a row's label has to do more than to scale, so classes can
// be split; and what the backward pass needs of the cosines is one number per row, so logits may take their memory.

#include "ops/cpu/margin.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/labels.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

cpu::Margin margin_of(const Attrs& attrs) {
  return {.scale = attrs.number("scale", 1),
          .m1 = attrs.number("m1", 1),
          .m2 = attrs.number("m2", 0),
          .m3 = attrs.number("m3", 0)};
}

std::vector<TensorType> infer_margin(const OpArgs& args) {
  expect_logits_and_labels(args);
  margin_of(args.attrs);
  return {args.inputs[0], {args.inputs[0].dtype, args.shape(1)}};
}

std::vector<ValueId> backward(GradientBuilder& g) {
  if (g.gradient(1).valid()) throw PlanError("only logits have a gradient; slope is kept for the backward pass");
  return {g.add("margin_logits_gradient", {g.gradient(), g.input(1), g.output(1)}, g.attrs()), ValueId()};
}

// Calls fn with a zero of the type of operand 0 and one of the labels' type.
template <class Fn>
void with_types(const KernelArgs& args, Fn&& fn) {
  if (!labels_are_valid(args)) return;
  with_float(args.inputs[0].dtype,
             [&](auto zero) { with_id(args.inputs[1].dtype, [&](auto zero_id) { fn(zero, zero_id); }); });
}

void margin_cpu(const KernelArgs& args, Stream&) {
  const TensorView& cosines = args.inputs[0];
  const TensorView& labels = args.inputs[1];
  with_types(args, [&](auto zero, auto zero_id) {
    using T = decltype(zero);
    using Id = decltype(zero_id);
    cpu::margin_forward<T, Id>(args.outputs[0].as<T>(), args.outputs[1].as<T>(), cosines.as<T>(), labels.as<Id>(),
                               labels.elements(), cosines.shape.back(), cosines.offset[cosines.shape.rank() - 1],
                               ignore_index(*args.attrs), margin_of(*args.attrs));
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 3);
  expect_logits_and_labels(args);
  expect_same_dtype(args, 0, "dlogits", 2, "slope");
  expect_shape(args, 2, "slope", args.shape(1), "one per label");
  margin_of(args.attrs);
  return {args.inputs[0]};
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& dlogits = args.inputs[0];
  const TensorView& labels = args.inputs[1];
  with_types(args, [&](auto zero, auto zero_id) {
    using T = decltype(zero);
    using Id = decltype(zero_id);
    cpu::margin_backward<T, Id>(args.outputs[0].as<T>(), dlogits.as<T>(), labels.as<Id>(), args.inputs[2].as<T>(),
                                labels.elements(), dlogits.shape.back(), dlogits.offset[dlogits.shape.rank() - 1],
                                ignore_index(*args.attrs), margin_of(*args.attrs).scale);
  });
}

}  // namespace

OpDef margin_logits() {
  return {
      .name = "margin_logits",
      .inputs = {"cosines", "labels"},
      .outputs = {"logits", "slope"},
      .doc =
          "logits = scale cosines over classes in the last dim, at the label scale (cos(m1 theta + m2) - m3) with "
          "theta = acos(cosine); slope: the derivative of the latter by the cosine over scale, for the backward pass.",
      .rule_of =
          [](const OpArgs& args) {
            const std::string rows = dim_names(args.rank(1));
            const std::string cosines = dim_names_and(args.rank(0), "c");
            return cosines + ", " + rows + " -> " + cosines + ", " + rows;
          },
      .infer = infer_margin,
      .gradient = backward,
      .cpu = margin_cpu,
      .explain = explain_label,
      .in_place = {{0, 0}}};
}

OpDef margin_logits_gradient() {
  return {.name = "margin_logits_gradient",
          .inputs = {"dlogits", "labels", "slope"},
          .outputs = {"dcosines"},
          .doc = "dcosines = scale dlogits, at the label times slope.",
          .rule_of =
              [](const OpArgs& args) {
                const std::string rows = dim_names(args.rank(1));
                const std::string logits = dim_names_and(args.rank(0), "c");
                return logits + ", " + rows + ", " + rows + " -> " + logits + "; linear(0)";
              },
          .infer = infer_gradient,
          .cpu = gradient_cpu,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
