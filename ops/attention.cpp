// out = softmax(scale q k^T) v per batch and head, with a causal mask and a mask of keys on demand.

#include "ops/cpu/attention.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "ops/sequence_parts.h"

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
    Sbp mask = keys.is_split_on(0) || keys.is_split_on(seq_dim(args.attrs)) ? keys : B;
    if (mask.is_split_on(seq_dim(args.attrs))) mask.dim = 3;
    signature.inputs.push_back(mask);
  }
  return signatures;
}

// Splits of batch, heads and queries; `of` makes the signature from the SBP of (q and out, k and v, lse, dk and dv). A form
// made for the parts of a sequence can be split into these parts alone, and where queries see one part of the keys, each
// device has the part that its queries see.
template <class Fn>
std::vector<Signature> attention_splits(const OpArgs& args, int q, int k, int parts, Fn of) {
  const int heads = head_dim(args.attrs);
  const int64_t kv_heads = args.shape(k)[heads];
  std::vector<Signature> result = {of(B, B, B, B), of(S(0), S(0), S(0), S(0))};
  // The parts of q's heads must read the same parts of k's heads.
  if (args.shape(q)[heads] == kv_heads || kv_heads % parts == 0) {
    result.push_back(of(S(heads), S(heads), S(1), S(heads)));
  }
  const int64_t made_for = args.attrs.integer("parts", 1);
  if (made_for > 1 && parts != made_for) return result;
  const Sbp queries = S(seq_dim(args.attrs));
  const int64_t shift = args.attrs.integer("shift", -1);
  const Sbp keys = shift < 0 ? B : S_shifted(queries.dim, static_cast<int>(shift));
  result.push_back(of(queries, keys, S(2), shift < 0 ? P : keys));
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

// The rows of a tensor in paired order (see ops/sequence_parts.h): the second halves of the parts change places, so half
// of what a device has is exchanged with the device at the other end. And back. What the forward pass has in paired order
// the backward pass reads as it is.
ValueId paired(GradientBuilder& g, ValueId x, int64_t dim, SequenceSplit& split) {
  const auto known = split.paired.find(x);
  if (known != split.paired.end()) return known->second;
  const std::vector<ValueId> halves = g.add_all("halves", {x}, {{"dim", dim}, {"parts", int64_t{split.parts}}});
  const Attrs attrs = {{"dim", dim}, {"parts", int64_t{split.parts}}, {"mirrored", int64_t{1}}};
  return split.paired[x] = g.add("join_halves", halves, attrs);
}
ValueId unpaired(GradientBuilder& g, ValueId x, int64_t dim, SequenceSplit& split) {
  const Attrs attrs = {{"dim", dim}, {"parts", int64_t{split.parts}}, {"mirrored", int64_t{1}}};
  const std::vector<ValueId> halves = g.add_all("halves", {x}, attrs);
  const ValueId result = g.add("join_halves", halves, {{"dim", dim}, {"parts", int64_t{split.parts}}});
  split.paired[result] = x;
  return result;
}

// The attributes of the form for a split sequence. Behind a causal mask its queries are paired.
Attrs split_attrs(const Attrs& attrs, const SequenceSplit& split) {
  Attrs result = attrs;
  result.set("parts", int64_t{split.parts});
  result.set("paired", attrs.integer("causal", 0));
  return result;
}

// Each device has its own queries, and all keys; or, in a ring, one part of the keys after another, the gradients of each
// going back to where it came from. The planner may find less to send in other splits, by heads or samples, but those are
// not what was asked for.
std::vector<ValueId> split_sequence(GradientBuilder& g, SequenceSplit& split) {
  const int64_t seq = seq_dim(g.attrs());
  Attrs attrs = split_attrs(g.attrs(), split);
  const bool pairs = attrs.integer("paired") != 0;
  const ValueId q = pairs ? paired(g, g.input(0), seq, split) : g.input(0);
  std::vector<ValueId> all;
  for (int64_t shift = 0; shift < (split.ring ? split.parts : 1); ++shift) {
    if (split.ring) attrs.set("shift", shift);
    std::vector<ValueId> operands = {q};
    for (int i = 1; i < g.inputs(); ++i) operands.push_back(g.input(i));
    const std::vector<ValueId> made = g.add_all("attention", operands, attrs);
    split.made.emplace_back(made[0], S(static_cast<int>(seq)));
    all = all.empty() ? made : g.add_all("merge_attention", {all[0], all[1], made[0], made[1]}, {{"seq_dim", seq}});
  }
  if (!pairs) return all;
  return {unpaired(g, all[0], seq, split), unpaired(g, all[1], 2, split)};
}

std::vector<ValueId> split_gradient_sequence(GradientBuilder& g, SequenceSplit& split) {
  const int64_t seq = seq_dim(g.attrs());
  Attrs attrs = split_attrs(g.attrs(), split);
  const bool pairs = attrs.integer("paired") != 0;
  std::vector<ValueId> inputs;
  for (int i = 0; i < g.inputs(); ++i) {
    const bool of_keys = i == 2 || i == 3 || i == 6;
    inputs.push_back(pairs && !of_keys ? paired(g, g.input(i), i == 5 ? 2 : seq, split) : g.input(i));
  }
  std::vector<ValueId> all;
  for (int64_t shift = 0; shift < (split.ring ? split.parts : 1); ++shift) {
    if (split.ring) attrs.set("shift", shift);
    const std::vector<ValueId> made = g.add_all("attention_gradient", inputs, attrs);
    split.made.emplace_back(made[0], S(static_cast<int>(seq)));
    if (all.empty()) {
      all = made;
      continue;
    }
    for (size_t i = 0; i < made.size(); ++i) all[i] = g.add("add", {all[i], made[i]});
  }
  if (pairs) all[0] = unpaired(g, all[0], seq, split);
  return all;
}

// Of local shapes.
cpu::AttentionShape shape_of(const Shape& q, const Shape& k, const Attrs& attrs, const uint8_t* mask = nullptr) {
  const int heads = head_dim(attrs);
  const int seq = seq_dim(attrs);
  return {.batch = q[0],
          .heads = q[heads],
          .kv_heads = k[heads],
          .q_len = q[seq],
          .kv_len = k[seq],
          .head_dim = q[3],
          .causal = attrs.integer("causal", 0) != 0,
          .key_mask = mask,
          .lse_step = q[seq],
          .mask_step = k[seq]};
}

// Of some of the queries and keys of a local shape.
cpu::AttentionShape shape_of(cpu::AttentionShape shape, const AttentionRun& run) {
  shape.q_len = run.queries;
  shape.kv_len = run.keys;
  shape.q_offset = run.query_offset;
  if (shape.key_mask != nullptr) shape.key_mask += run.first_key;
  return shape;
}

SequencePart part_of_sequence(const TensorView& view, int seq) {
  return {view.offset[seq], view.shape[seq], view.logical[seq]};
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
  const int seq = seq_dim(attrs);
  const cpu::AttentionShape shape = shape_of(q.shape, k.shape, attrs, mask_of(args, 3));
  const cpu::HeadStrides q_strides = head_strides(q.shape, attrs);
  const cpu::HeadStrides k_strides = head_strides(k.shape, attrs);
  with_float(q.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_attention_run(attrs, part_of_sequence(q, seq), part_of_sequence(k, seq), [&](const AttentionRun& run) {
      const int64_t rows = run.first_query * q_strides.seq;
      const int64_t keys = run.first_key * k_strides.seq;
      cpu::attention_forward<T>(args.outputs[0].as<T>() + rows, q_strides, args.outputs[1].as<T>() + run.first_query,
                                q.as<T>() + rows, q_strides, k.as<T>() + keys, k_strides, v.as<T>() + keys, k_strides,
                                shape_of(shape, run), static_cast<T>(attrs.number("scale")), args.scratch.data());
    });
  });
}

int64_t attention_scratch(const OpArgs& args) {
  const cpu::AttentionShape shape = shape_of(args.shape(0), args.shape(1), args.attrs);
  return args.inputs[0].dtype == DType::f32 ? cpu::attention_forward_scratch_bytes<float>(shape)
                                            : cpu::attention_forward_scratch_bytes<double>(shape);
}

// Products of q's rows with k's and v's: two forward, five backward.
double products_flops(const OpArgs& args, int q, int k, int products) {
  const int seq = seq_dim(args.attrs);
  const auto part = [&](int input) -> SequencePart {
    const int64_t size = args.shape(input)[seq];
    if (args.places.empty()) return {0, size, size};
    const Place& place = args.places[static_cast<size_t>(input)];
    return {place.offset[seq], size, place.logical[seq]};
  };
  const bool causal = args.attrs.integer("causal", 0) != 0;
  double pairs = 0;
  for_each_attention_run(args.attrs, part(q), part(k),
                         [&](const AttentionRun& run) { pairs += visible_pairs(run, causal); });
  const Shape& shape = args.shape(q);
  return 2.0 * products * pairs * static_cast<double>(shape[0] * shape[head_dim(args.attrs)] * shape[3]);
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
  // With the lse of all keys, a part of the keys has its own gradients and adds to that of the queries. Not where queries
  // see one part of the keys: another axis may shift those, and what is cut twice is shifted within the first cut.
  const Sbp keys = S(seq_dim(args.attrs));
  if (!args.attrs.has("shift")) result.push_back({{B, B, keys, keys, B, B}, {P, keys, keys}});
  result.push_back({{P, B, B, B, B, B}, {P, P, P}});  // linear in dout
  return with_mask(std::move(result), args, 6, 2);
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& q = args.inputs[1];
  const TensorView& k = args.inputs[2];
  const TensorView& v = args.inputs[3];
  const Attrs& attrs = *args.attrs;
  const int seq = seq_dim(attrs);
  const cpu::AttentionShape shape = shape_of(q.shape, k.shape, attrs, mask_of(args, 6));
  const cpu::HeadStrides q_strides = head_strides(q.shape, attrs);
  const cpu::HeadStrides k_strides = head_strides(k.shape, attrs);
  with_float(q.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_attention_run(attrs, part_of_sequence(q, seq), part_of_sequence(k, seq), [&](const AttentionRun& run) {
      const int64_t rows = run.first_query * q_strides.seq;
      const int64_t keys = run.first_key * k_strides.seq;
      cpu::attention_backward<T>(args.outputs[0].as<T>() + rows, q_strides, args.outputs[1].as<T>() + keys, k_strides,
                                 args.outputs[2].as<T>() + keys, k_strides, args.inputs[0].as<T>() + rows, q_strides,
                                 q.as<T>() + rows, q_strides, k.as<T>() + keys, k_strides, v.as<T>() + keys, k_strides,
                                 args.inputs[4].as<T>() + rows, q_strides, args.inputs[5].as<T>() + run.first_query,
                                 shape_of(shape, run), static_cast<T>(attrs.number("scale")), !run.is_first_of_keys,
                                 args.scratch.data());
    });
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
          "keys that no query sees; a query that sees no key gives zeros; parts=n, shift=s: of n parts of the "
          "sequence, the "
          "queries of part i see the keys of part i - s modulo n; paired=1: behind the first half of part i stands the "
          "second half of part n - 1 - i.",
      .signatures = attention_signatures,
      .infer = infer_attention,
      .gradient = backward,
      .split_sequence = split_sequence,
      .precision = Precision::low,
      .cpu = in_float32<attention_cpu>,
      .scratch_bytes = scratch_in_float32<infer_attention, attention_scratch>,
      .flops = [](const OpArgs& args) { return products_flops(args, 0, 1, 2); },
      .flops_by_place = true};
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
          .split_sequence = split_gradient_sequence,
          .precision = Precision::low,
          .full_inputs = {5},
          .cpu = in_float32<gradient_cpu>,
          .scratch_bytes = scratch_in_float32<infer_gradient, gradient_scratch>,
          .flops = [](const OpArgs& args) { return products_flops(args, 1, 2, 5); },
          .flops_by_place = true};
}

}  // namespace troupe::define
