// The parts of a cross entropy whose vocabulary is split: each is a partial sum over the shards.

#include "ops/cpu/cross_entropy.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/labels.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_exp_sum(const OpArgs& args) {
  expect_operands(args, 2);
  expect_float(args, 0, "x");
  expect_rank(args, 0, "x", 1);
  expect_same_dtype(args, 0, "x", 1, "maximum");
  expect_shape(args, 1, "maximum", rows_of(args.shape(0)), "one per row, and " + operand_text(args, 0, "x"));
  return {args.inputs[1]};
}

std::string rows_rule(const OpArgs& args, const char* notes) {
  const std::string rows = dim_names(args.rank(1));
  return dim_names_and(args.rank(0), "c") + ", " + rows + " -> " + rows + notes;
}

void exp_sum_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::row_sum_exp<T>(args.outputs[0].as<T>(), x.as<T>(), args.inputs[1].as<T>(), args.outputs[0].elements(),
                        x.shape.back());
  });
}

std::vector<TensorType> infer_picked_logit(const OpArgs& args) {
  expect_logits_and_labels(args);
  return {{args.inputs[0].dtype, args.shape(1)}};
}

void picked_logit_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& labels = args.inputs[1];
  const int last = x.shape.rank() - 1;
  if (!labels_are_valid(args)) return;
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_id(labels.dtype, [&](auto zero_id) {
      using Id = decltype(zero_id);
      cpu::pick_label<T, Id>(args.outputs[0].as<T>(), x.as<T>(), labels.as<Id>(), labels.elements(), x.shape[last],
                             x.offset[last], ignore_index(*args.attrs));
    });
  });
}

}  // namespace

OpDef exp_sum() {
  return {.name = "exp_sum",
          .inputs = {"x", "maximum"},
          .outputs = {"y"},
          .doc = "y[..] = sum over the last dim of exp(x[.., c] - maximum[..]).",
          .rule_of = [](const OpArgs& args) { return rows_rule(args, ""); },
          .infer = infer_exp_sum,
          .cpu = exp_sum_cpu};
}

OpDef picked_logit() {
  return {.name = "picked_logit",
          .inputs = {"x", "labels"},
          .outputs = {"y"},
          .doc = "y[..] = x[.., labels[..]], 0 where the label is ignore_index.",
          .rule_of = [](const OpArgs& args) { return rows_rule(args, "; linear(0)"); },
          .infer = infer_picked_logit,
          .cpu = picked_logit_cpu,
          .explain = explain_label};
}

}  // namespace troupe::define
