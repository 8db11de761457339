// out = softmax(scale q k^T) v per batch and head, with a causal mask and a mask of keys on demand.

#include "ops/cpu/attention.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

// Where the dims of q, k, v stand: [batch, heads, seq, dim] or [batch, seq, heads, dim].
int seq_dim(const Attrs& attrs) { return static_cast<int>(attrs.integer("seq_dim", 2)); }
int head_dim(const Attrs& attrs) { return 3 - seq_dim(attrs); }

std::string all_operands(const OpArgs& args) {
  return operand_text(args, 0, "q") + ", " + operand_text(args, 1, "k") + ", " + operand_text(args, 2, "v");
}

void expect_mask(const OpArgs& args, const Shape& shape) {
  const TensorType right{DType::b8, shape};
  if (args.inputs[3] == right) return;
  throw PlanError(
      operand_text(args, 3, "mask") + ", but must be " + right.str() +
      " ([batch,1,1,keys], false for keys that no query of the batch sees): there is no other mask than this "
      "and causal=1, and " +
      all_operands(args));
}

std::vector<TensorType> infer_attention(const OpArgs& args) {
  expect_operands(args, 3);
  expect_any_float(args, 0, "q");
  expect_same_dtype(args, 0, "q", 1, "k");
  expect_same_type(args, 1, "k", 2, "v");
  args.attrs.number("scale");
  if (seq_dim(args.attrs) != 1 && seq_dim(args.attrs) != 2) throw PlanError("seq_dim must be 1 or 2");
  if (args.rank(0) != 4 || args.rank(1) != 4) {
    throw PlanError(all_operands(args) + "; each must have four dims " +
                    (seq_dim(args.attrs) == 2 ? "[batch,heads,seq,dim]" : "[batch,seq,heads,dim]"));
  }
  const Shape& q = args.shape(0);
  const Shape& k = args.shape(1);
  const int heads = head_dim(args.attrs);
  const bool groups = k[heads] > 0 ? q[heads] % k[heads] == 0 : q[heads] == 0;
  if (q[0] != k[0] || q[3] != k[3] || !groups) {
    throw PlanError(all_operands(args) + "; batch and dim of q and k must be equal, and q's heads (dim " +
                    std::to_string(heads) + ") a multiple of k's");
  }
  if (args.inputs.size() > 3) expect_mask(args, {q[0], 1, 1, k[seq_dim(args.attrs)]});
  return {args.inputs[0], {sum_dtype(args.inputs[0].dtype), {q[0], q[heads], q[seq_dim(args.attrs)]}}};
}

// Completes signatures of a use whose mask stands behind the other `operands`: it is split as the keys are.
std::vector<Signature> with_mask(std::vector<Signature> signatures, const OpArgs& args, size_t operands, size_t k) {
  if (args.inputs.size() == operands) return signatures;
  for (Signature& signature : signatures) {
    const Sbp keys = signature.inputs[k];
    signature.inputs.push_back(keys == S(0) ? S(0) : keys == S(seq_dim(args.attrs)) ? S(3) : B);
  }
  return signatures;
}

// Splits of batch, heads and queries; `of` makes the signature from the SBP of (q and out, k and v, lse, dk and dv).
template <class Fn>
std::vector<Signature> attention_splits(const OpArgs& args, int q, int k, int parts, Fn of) {
  const int heads = head_dim(args.attrs);
  const int64_t kv_heads = args.shape(k)[heads];
  std::vector<Signature> result = {of(B, B, B, B), of(S(0), S(0), S(0), S(0))};
  // The parts of q's heads must read the same parts of k's heads.
  if (args.shape(q)[heads] == kv_heads || kv_heads % parts == 0) {
    result.push_back(of(S(heads), S(heads), S(1), S(heads)));
  }
  result.push_back(of(S(seq_dim(args.attrs)), B, S(2), P));
  return result;
}

std::vector<Signature> attention_signatures(const OpArgs& args, int parts) {
  std::vector<Signature> result =
      attention_splits(args, 0, 1, parts, [](Sbp q, Sbp kv, Sbp lse, Sbp) { return Signature{{q, kv, kv}, {q, lse}}; });
  result.push_back({{B, B, P}, {P, B}});  // linear in v
  return with_mask(std::move(result), args, 3, 1);
}

std::vector<ValueId> backward(GradientBuilder& g) {
  if (g.gradient(1).valid()) throw PlanError("only out has a gradient; lse is kept for the backward pass");
  std::vector<ValueId> operands = {g.gradient(), g.input(0), g.input(1), g.input(2), g.output(0), g.output(1)};
  if (g.inputs() > 3) operands.push_back(g.input(3));
  std::vector<ValueId> gradients = g.add_all("attention_gradient", operands, g.attrs());
  gradients.resize(static_cast<size_t>(g.inputs()));
  return gradients;
}

// Of local shapes; `q_start` is the place of the first query among the keys that are here.
cpu::AttentionShape shape_of(const Shape& q, const Shape& k, const Attrs& attrs, int64_t q_start = 0,
                             const uint8_t* mask = nullptr) {
  const int heads = head_dim(attrs);
  const int seq = seq_dim(attrs);
  return {.batch = q[0],
          .heads = q[heads],
          .kv_heads = k[heads],
          .q_len = q[seq],
          .kv_len = k[seq],
          .head_dim = q[3],
          .causal = attrs.integer("causal", 0) != 0,
          .q_offset = q_start,
          .key_mask = mask};
}

cpu::HeadStrides head_strides(const Shape& shape, const Attrs& attrs) {
  const Dims strides = strides_of(shape);
  return {.batch = strides[0], .head = strides[head_dim(attrs)], .seq = strides[seq_dim(attrs)]};
}

const uint8_t* mask_of(const KernelArgs& args, size_t mask) {
  return args.inputs.size() > mask ? args.inputs[mask].as<uint8_t>() : nullptr;
}

void attention_cpu(const KernelArgs& args, Stream&) {
  const TensorView& q = args.inputs[0];
  const TensorView& k = args.inputs[1];
  const TensorView& v = args.inputs[2];
  const Attrs& attrs = *args.attrs;
  const cpu::AttentionShape shape = shape_of(q.shape, k.shape, attrs, q.offset[seq_dim(attrs)], mask_of(args, 3));
  with_float(q.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::attention_forward<T>(args.outputs[0].as<T>(), head_strides(q.shape, attrs), args.outputs[1].as<T>(), q.as<T>(),
                              head_strides(q.shape, attrs), k.as<T>(), head_strides(k.shape, attrs), v.as<T>(),
                              head_strides(v.shape, attrs), shape, static_cast<T>(attrs.number("scale")),
                              args.scratch.data());
  });
}

int64_t attention_scratch(const OpArgs& args) {
  const cpu::AttentionShape shape = shape_of(args.shape(0), args.shape(1), args.attrs);
  return args.inputs[0].dtype == DType::f32 ? cpu::attention_forward_scratch_bytes<float>(shape)
                                            : cpu::attention_forward_scratch_bytes<double>(shape);
}

// Products of q's rows with k's and v's: two forward, five backward.
double products_flops(const Shape& q, const Shape& k, const Attrs& attrs, int products) {
  const double scores = static_cast<double>(q.elements()) * static_cast<double>(k[seq_dim(attrs)]);
  return 2.0 * products * scores * (attrs.integer("causal", 0) != 0 ? 0.5 : 1.0);
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 6);
  std::vector<TensorType> operands(args.inputs.begin() + 1, args.inputs.begin() + 4);
  if (args.inputs.size() > 6) operands.push_back(args.inputs[6]);
  const std::vector<TensorType> outputs = infer_attention({operands, args.attrs});
  expect_same_type(args, 0, "dout", 1, "q");
  expect_same_type(args, 4, "out", 1, "q");
  expect_shape(args, 5, "lse", outputs[1].shape, "[batch,heads,seq], and " + operand_text(args, 1, "q"));
  return {args.inputs[1], args.inputs[2], args.inputs[3]};
}

// Every query adds to dk and dv, so a split of the queries leaves them partial.
std::vector<Signature> gradient_signatures(const OpArgs& args, int parts) {
  std::vector<Signature> result = attention_splits(args, 1, 2, parts, [](Sbp q, Sbp kv, Sbp lse, Sbp dkv) {
    return Signature{{q, q, kv, kv, q, lse}, {q, dkv, dkv}};
  });
  // With the lse of all keys, a part of the keys has its own gradients and adds to that of the queries.
  const Sbp keys = S(seq_dim(args.attrs));
  result.push_back({{B, B, keys, keys, B, B}, {P, keys, keys}});
  result.push_back({{P, B, B, B, B, B}, {P, P, P}});  // linear in dout
  return with_mask(std::move(result), args, 6, 2);
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& q = args.inputs[1];
  const TensorView& k = args.inputs[2];
  const TensorView& v = args.inputs[3];
  const Attrs& attrs = *args.attrs;
  const int seq = seq_dim(attrs);
  const cpu::AttentionShape shape = shape_of(q.shape, k.shape, attrs, q.offset[seq] - k.offset[seq], mask_of(args, 6));
  const cpu::HeadStrides q_strides = head_strides(q.shape, attrs);
  const cpu::HeadStrides k_strides = head_strides(k.shape, attrs);
  with_float(q.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::attention_backward<T>(args.outputs[0].as<T>(), q_strides, args.outputs[1].as<T>(), k_strides,
                               args.outputs[2].as<T>(), k_strides, args.inputs[0].as<T>(), q_strides, q.as<T>(),
                               q_strides, k.as<T>(), k_strides, v.as<T>(), k_strides, args.inputs[4].as<T>(), q_strides,
                               args.inputs[5].as<T>(), shape, static_cast<T>(attrs.number("scale")),
                               args.scratch.data());
  });
}

int64_t gradient_scratch(const OpArgs& args) {
  const cpu::AttentionShape shape = shape_of(args.shape(1), args.shape(2), args.attrs);
  return args.inputs[1].dtype == DType::f32 ? cpu::attention_backward_scratch_bytes<float>(shape)
                                            : cpu::attention_backward_scratch_bytes<double>(shape);
}

}  // namespace

OpDef attention() {
  return {
      .name = "attention",
      .inputs = {"q", "k", "v", "mask"},
      .outputs = {"out", "lse"},
      .doc =
          "out = softmax(scale q k^T) v per batch and head; causal=1: a query sees keys up to its own place; "
          "seq_dim: 2 for [batch,heads,seq,dim], 1 for [batch,seq,heads,dim]; mask: bool[batch,1,1,keys], false for "
          "keys that no query sees; a query that sees no key gives zeros.",
      .signatures = attention_signatures,
      .infer = infer_attention,
      .gradient = backward,
      .precision = Precision::low,
      .cpu = in_float32<attention_cpu>,
      .scratch_bytes = scratch_in_float32<infer_attention, attention_scratch>,
      .flops = [](const OpArgs& args) { return products_flops(args.shape(0), args.shape(1), args.attrs, 2); }};
}

OpDef attention_gradient() {
  return {.name = "attention_gradient",
          .inputs = {"dout", "q", "k", "v", "out", "lse", "mask"},
          .outputs = {"dq", "dk", "dv"},
          .doc =
              "With p = exp(scale q k^T - lse) and ds = p (dout v^T - sum(dout out)) scale: dq = ds k, dk = ds^T q, "
              "dv = p^T dout.",
          .signatures = gradient_signatures,
          .infer = infer_gradient,
          .precision = Precision::low,
          .full_inputs = {5},
          .cpu = in_float32<gradient_cpu>,
          .scratch_bytes = scratch_in_float32<infer_gradient, gradient_scratch>,
          .flops = [](const OpArgs& args) { return products_flops(args.shape(1), args.shape(2), args.attrs, 5); }};
}

}  // namespace troupe::define
