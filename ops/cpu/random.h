// Random numbers that are a function of a key and of an element's index in the logical tensor: Philox4x32-10
// (Salmon et al. 2011). A shard draws the numbers that the whole would have there.
//
// Element i takes word i % 4 of the block with counter {low(i / 4), high(i / 4), 0, 0} and key {low(key),
// high(key)}. T: float, double. Both draw from the same 32-bit words, so that a float64 run sees the float32
// run's draws up to rounding. All functions are re-entrant.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// One block.
void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

// The part of a logical row-major tensor that is held here, contiguous of `extent`. ndim <= kMaxDims.
struct RandomBox {
  const int64_t* logical_shape = nullptr;
  const int64_t* offset = nullptr;
  const int64_t* extent = nullptr;
  int ndim = 0;
};

// The words themselves.
void fill_random_words(uint32_t* out, uint64_t key, const RandomBox& box);

// low + (high - low) u, with u = (word >> 8) / 2^24 in [0, 1).
template <typename T>
void fill_uniform(T* out, uint64_t key, const RandomBox& box, T low, T high);

// mean + stddev z; elements 2j and 2j+1 share words 2j and 2j+1 as (u1, u2): z = sqrt(-2 ln u1) {cos, sin}(2
// pi u2) with u1 = ((word >> 8) + 1) / 2^24, u2 = (word >> 8) / 2^24 (Box and Muller 1958).
template <typename T>
void fill_normal(T* out, uint64_t key, const RandomBox& box, T mean, T stddev);

// mask = 1 where the element is kept: u >= p with u as in fill_uniform.
void fill_dropout_mask(uint8_t* mask, uint64_t key, const RandomBox& box, double p);

// y = x / (1 - p) where kept, otherwise 0 (p = 1: all 0). The backward is the same function on dy, with the
// same key: nothing is stored. y may be x.
template <typename T>
void dropout(T* y, const T* x, uint64_t key, const RandomBox& box, double p);

}  // namespace troupe::cpu
