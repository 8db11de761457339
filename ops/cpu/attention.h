// Scaled dot-product attention, block by block (Dao et al. 2022): the matrix of scores is never stored as a
// whole.
//
// T: float, double. Only the output and the log-sum-exp of each query are kept; the backward computes the
// probabilities again. All functions are re-entrant, given a scratch of their own. Outputs must not overlap
// inputs.
#pragma once

#include <cstdint>

namespace troupe::cpu {

struct AttentionShape {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // heads is a multiple; query head h reads key head h / (heads / kv_heads)
  int64_t q_len = 0;
  int64_t kv_len = 0;
  int64_t head_dim = 0;
  bool causal = false;   // query i attends to keys j <= i + q_offset
  int64_t q_offset = 0;  // of query 0 among the keys; may be negative
  // [batch,kv_len]: 0 where no query of the batch attends to the key; null: all may. A query that attends to no key
  // gives 0, lse -inf and gradients of 0.
  const uint8_t* key_mask = nullptr;
  // Queries and keys may be some of those of a tensor. In elements, between heads of lse and batches of the mask:
  int64_t lse_step = 0;   // 0: q_len
  int64_t mask_step = 0;  // 0: kv_len
};

// Distances in elements between batches, heads and positions; head_dim is contiguous. [batch,heads,seq,dim]
// has {heads*seq*dim, seq*dim, dim}; one third of a packed qkv of [batch,seq,3*heads*dim] has
// {seq*3*heads*dim, dim, 3*heads*dim}.
struct HeadStrides {
  int64_t batch = 0;
  int64_t head = 0;
  int64_t seq = 0;
};

// Bounded by a block of queries times a block of keys, whatever the lengths.
template <typename T>
int64_t attention_forward_scratch_bytes(const AttentionShape& shape);

// out = softmax(scale q k^T, masked) v, lse[batch,heads,q_len] = log sum exp(scale q k^T).
template <typename T>
void attention_forward(T* out, HeadStrides out_strides, T* lse, const T* q, HeadStrides q_strides, const T* k,
                       HeadStrides k_strides, const T* v, HeadStrides v_strides, const AttentionShape& shape, T scale,
                       void* scratch);

template <typename T>
int64_t attention_backward_scratch_bytes(const AttentionShape& shape);

// Given dout (strides as out), writes dq, dk, dv, which have the strides of q, k, v unless given others.
// dv = p^T dout; ds = p (dout v^T - rowsum(dout out)) scale; dq = ds k; dk = ds^T q. With `adds`, dk and dv are added
// to.
template <typename T>
void attention_backward(T* dq, HeadStrides dq_strides, T* dk, HeadStrides dk_strides, T* dv, HeadStrides dv_strides,
                        const T* dout, HeadStrides dout_strides, const T* q, HeadStrides q_strides, const T* k,
                        HeadStrides k_strides, const T* v, HeadStrides v_strides, const T* out, HeadStrides out_strides,
                        const T* lse, const AttentionShape& shape, T scale, bool adds, void* scratch);

}  // namespace troupe::cpu
