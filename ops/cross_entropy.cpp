// loss = log sum exp(logits) - logits[label] per row, 0 where the label is ignore_index.

#include "ops/cpu/cross_entropy.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/labels.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_cross_entropy(const OpArgs& args) {
  expect_logits_and_labels(args);
  const TensorType rows{args.inputs[0].dtype, args.shape(1)};
  return {rows, rows};
}

std::vector<ValueId> backward(GradientBuilder& g) {
  if (g.gradient(1).valid()) throw PlanError("only the loss has a gradient; lse is kept for the backward pass");
  return {g.add("cross_entropy_gradient", {g.input(0), g.input(1), g.output(1), g.gradient(0)}, g.attrs()), ValueId()};
}

// For a split vocabulary: the row maximum is P(max), the sum of exponentials P, the picked logit P.
std::vector<ValueId> decompose_cross_entropy(GradientBuilder& g) {
  const ValueId logits = g.input(0);
  const ValueId labels = g.input(1);
  const int64_t last = g.type(logits).shape.rank() - 1;
  const auto scalar = [&](double value, DType dtype) {
    return g.add("fill", {},
                 {{"value", value}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string(name_of(dtype))}});
  };
  const ValueId maximum = g.add("reduce_max", {logits}, {{"dims", std::vector<int64_t>{last}}, {"keep", int64_t{0}}});
  const ValueId lse = g.add("add", {g.add("log", {g.add("exp_sum", {logits, maximum})}), maximum});
  const ValueId loss = g.add("sub", {lse, g.add("picked_logit", {logits, labels}, g.attrs())});
  const ValueId ignored =
      g.add("equal", {labels, scalar(static_cast<double>(ignore_index(g.attrs())), g.type(labels).dtype)});
  return {g.add("where", {ignored, scalar(0, g.type(logits).dtype), loss}), lse};
}

void cross_entropy_cpu(const KernelArgs& args, Stream&) {
  const TensorView& logits = args.inputs[0];
  const TensorView& labels = args.inputs[1];
  if (!labels_are_valid(args)) return;
  with_float(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_id(labels.dtype, [&](auto zero_id) {
      using Id = decltype(zero_id);
      cpu::cross_entropy_forward<T, Id>(args.outputs[0].as<T>(), args.outputs[1].as<T>(), logits.as<T>(),
                                        labels.as<Id>(), labels.elements(), logits.shape.back(),
                                        ignore_index(*args.attrs));
    });
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 4);
  expect_logits_and_labels(args);
  expect_same_dtype(args, 0, "logits", 2, "lse");
  expect_shape(args, 2, "lse", args.shape(1), "one per label");
  expect_same_type(args, 2, "lse", 3, "dloss");
  return {args.inputs[0]};
}

// (softmax - one-hot label) times dloss: with lse whole, a shard of the classes needs nothing from the others.
std::string gradient_rule(const OpArgs& args) {
  const std::string logits = dim_names_and(args.rank(0), "c");
  const std::string rows = dim_names(args.rank(1));
  return logits + ", " + rows + ", " + rows + ", " + rows + " -> " + logits + "; linear(3)";
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& logits = args.inputs[0];
  const TensorView& labels = args.inputs[1];
  const int last = logits.shape.rank() - 1;
  if (!labels_are_valid(args)) return;
  with_float(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_id(labels.dtype, [&](auto zero_id) {
      using Id = decltype(zero_id);
      cpu::cross_entropy_backward_shard<T, Id>(args.outputs[0].as<T>(), args.inputs[3].as<T>(), logits.as<T>(),
                                               args.inputs[2].as<T>(), labels.as<Id>(), labels.elements(),
                                               logits.shape[last], logits.offset[last], ignore_index(*args.attrs));
    });
  });
}

}  // namespace

OpDef cross_entropy() {
  return {.name = "cross_entropy",
          .inputs = {"logits", "labels"},
          .outputs = {"loss", "lse"},
          .doc =
              "lse = log sum exp(logits) over the last dim; loss = lse - logits[label], 0 where the label is "
              "ignore_index.",
          .rule_of =
              [](const OpArgs& args) {
                const std::string rows = dim_names(args.rank(1));
                return dim_names_and(args.rank(0), "c") + ", " + rows + " -> " + rows + ", " + rows + "; !c";
              },
          .infer = infer_cross_entropy,
          .gradient = backward,
          .decompose = decompose_cross_entropy,
          .cpu = cross_entropy_cpu,
          .explain = explain_label};
}

OpDef cross_entropy_gradient() {
  return {.name = "cross_entropy_gradient",
          .inputs = {"logits", "labels", "lse", "dloss"},
          .outputs = {"dlogits"},
          .doc = "dlogits = (exp(logits - lse) - onehot(label)) dloss, 0 where the label is ignore_index.",
          .rule_of = gradient_rule,
          .infer = infer_gradient,
          .cpu = gradient_cpu,
          .explain = explain_label,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
