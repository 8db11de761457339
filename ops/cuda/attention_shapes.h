// What the kernels of attention know of their operands, and which keys a query sees.
#pragma once

#include "ops/cuda/numbers.h"
#include "ops/sequence_parts.h"
#include "runtime/device/kernel.h"

namespace troupe::cuda {

// Where operands lie: steps in elements between batches, heads and rows of a sequence; dims are neighbours.
struct Steps {
  int64_t batch, head, row;
};

struct AttentionShapes {
  int64_t batch, heads, kv_heads, queries, keys, dims;
  Steps q, k;
  const uint8_t* mask;  // [batch, keys]; null: none
  bool causal;
  double scale;

  __host__ __device__ int64_t group() const { return heads / kv_heads; }
};

// Of a use whose q, k and mask are these inputs; without a mask it has fewer.
inline AttentionShapes attention_shapes(const KernelArgs& args, size_t q_input, size_t k_input, size_t mask) {
  const Shape& q = args.inputs[q_input].shape;
  const Shape& k = args.inputs[k_input].shape;
  const int seq = static_cast<int>(args.attrs->integer("seq_dim", 2));
  const int head = 3 - seq;
  const auto steps = [&](const Shape& shape) {
    const Dims strides = strides_of(shape);
    return Steps{strides[0], strides[head], strides[seq]};
  };
  return {q[0],
          q[head],
          k[head],
          q[seq],
          k[seq],
          q[3],
          steps(q),
          steps(k),
          args.inputs.size() > mask ? args.inputs[mask].as<uint8_t>() : nullptr,
          args.attrs->integer("causal", 0) != 0,
          args.attrs->number("scale")};
}

template <class Visit>
void for_each_run(const KernelArgs& args, size_t q_input, size_t k_input, Visit visit) {
  const int seq = static_cast<int>(args.attrs->integer("seq_dim", 2));
  const auto part = [&](const TensorView& x) { return SequencePart{x.offset[seq], x.shape[seq], x.logical[seq]}; };
  for_each_attention_run(*args.attrs, part(args.inputs[q_input]), part(args.inputs[k_input]), visit);
}

constexpr int kMostRuns = 256;  // what fits into a kernel's parameters

struct AttentionRuns {
  int count = 0;
  AttentionRun at[kMostRuns];
};

template <class T>
struct AttentionBackward {
  const T* dout;
  const T* q;
  const T* k;
  const T* v;
  const T* out;
  const Compute<T>* lse;
};

template <class T>
AttentionBackward<T> backward_operands(const KernelArgs& args) {
  return {args.inputs[0].as<T>(), args.inputs[1].as<T>(), args.inputs[2].as<T>(),
          args.inputs[3].as<T>(), args.inputs[4].as<T>(), args.inputs[5].as<Compute<T>>()};
}

// Query i of a run of queries that are neighbours in the sequence, and key j of those that it may see:
__device__ __forceinline__ bool sees(const AttentionShapes& s, const AttentionRun& run, const uint8_t* mask, int64_t i,
                                     int64_t j) {
  if (i >= run.queries || j >= run.keys) return false;
  if (s.causal && j > i + run.query_offset) return false;
  return mask == nullptr || mask[run.first_key + j] != 0;
}

// How many keys from the first on some query below `end` may see.
__device__ __forceinline__ int64_t keys_below(const AttentionShapes& s, const AttentionRun& run, int64_t end) {
  const int64_t seen = s.causal ? end + run.query_offset : run.keys;
  return seen < 0 ? 0 : seen < run.keys ? seen : run.keys;
}

}  // namespace troupe::cuda
