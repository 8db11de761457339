// Attention over two sets of keys from attention over each: the softmax carried on from block to block (Milakov and
// Gimelshein 2018; Liu et al. 2023, "Ring Attention").
#pragma once

#include <cstdint>

#include "ops/cpu/attention.h"

namespace troupe::cpu {

// out = (exp(a_lse) a + exp(b_lse) b) / (exp(a_lse) + exp(b_lse)), lse = log(exp(a_lse) + exp(b_lse)); without keys on
// either side (both -inf) 0 and -inf. All of the shape's queries and strides; lse as [batch,heads,q_len]. T: float,
// double. Outputs may be the memory of a, else must not overlap inputs.
template <typename T>
void attention_merge(T* out, T* lse, const T* a, const T* a_lse, const T* b, const T* b_lse, HeadStrides strides,
                     const AttentionShape& shape);

}  // namespace troupe::cpu
