// Attention over all keys from attention over two sets of them: what keeps a ring's device from holding all keys.

#include "ops/cpu/attention_merge.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

int seq_dim(const Attrs& attrs) { return static_cast<int>(attrs.integer("seq_dim", 2)); }

std::vector<TensorType> infer(const OpArgs& args) {
  expect_operands(args, 4);
  expect_float(args, 0, "out");
  expect_rank(args, 0, "out", 4);
  expect_same_dtype(args, 0, "out", 1, "lse");
  const int seq = seq_dim(args.attrs);
  const Shape& out = args.shape(0);
  expect_shape(args, 1, "lse", {out[0], out[3 - seq], out[seq]},
               "one per head and query, and " + operand_text(args, 0, "out"));
  expect_same_type(args, 0, "out", 2, "more_out");
  expect_same_type(args, 1, "lse", 3, "more_lse");
  return {args.inputs[0], args.inputs[1]};
}

std::vector<Signature> signatures(const OpArgs& args, int) {
  const std::string out = seq_dim(args.attrs) == 1 ? "b s h d" : "b h s d";
  std::vector<Signature> result = signatures_from(out + ", b h s, " + out + ", b h s -> " + out + ", b h s; !d");
  result.push_back({{S(3), B, S(3), B}, {S(3), B}});
  result.push_back({{P, B, P, B}, {P, B}});  // linear in what is weighed
  return result;
}

void merge_cpu(const KernelArgs& args, Stream&) {
  const TensorView& out = args.outputs[0];
  const int seq = seq_dim(*args.attrs);
  const Dims strides = strides_of(out.shape);
  const cpu::AttentionShape shape{
      .batch = out.shape[0], .heads = out.shape[3 - seq], .q_len = out.shape[seq], .head_dim = out.shape[3]};
  with_float(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::attention_merge<T>(out.as<T>(), args.outputs[1].as<T>(), args.inputs[0].as<T>(), args.inputs[1].as<T>(),
                            args.inputs[2].as<T>(), args.inputs[3].as<T>(),
                            {strides[0], strides[3 - seq], strides[seq]}, shape);
  });
}

}  // namespace

OpDef merge_attention() {
  return {
      .name = "merge_attention",
      .inputs = {"out", "lse", "more_out", "more_lse"},
      .outputs = {"out", "lse"},
      .doc =
          "Attention over the keys of both: with w = exp(lse), out = (w out + more_w more_out) / (w + more_w), lse = "
          "log(w + more_w).",
      .signatures = signatures,
      .infer = infer,
      .cpu = merge_cpu,
      .in_place = {{0, 0}, {1, 1}}};
}

}  // namespace troupe::define
