// The way over the elements of a tensor and, beside them, over operands that are read or written with other strides.
#pragma once

#include "ops/cuda/packs.h"
#include "runtime/base/check.h"
#include "runtime/base/shape.h"

namespace troupe::cuda {

// Dims of size one are gone, and neighbours that are one dim for all K operands are one. At least one dim is left.
template <int K>
struct Walk {
  int rank = 0;
  int64_t n = 0;  // elements in all
  int64_t sizes[kMaxRank] = {};
  int64_t strides[K][kMaxRank] = {};
};

// Strides in elements with which an operand is read as one of `shape`: 0 along dims that broadcast.
inline Dims broadcast_strides(const Shape& operand, const Shape& shape) {
  Dims strides = Dims::filled(shape.rank(), 0);
  const int missing = shape.rank() - operand.rank();
  int64_t stride = 1;
  for (int d = operand.rank() - 1; d >= 0; --d) {
    if (operand[d] != 1) strides[d + missing] = stride;
    stride *= operand[d];
  }
  return strides;
}

template <int K>
Walk<K> make_walk(const Shape& shape, const Dims (&strides)[K]) {
  Walk<K> walk;
  walk.n = shape.elements();
  for (int d = 0; d < shape.rank(); ++d) {
    if (shape[d] == 1) continue;
    bool joins = walk.rank > 0;
    for (int k = 0; k < K && joins; ++k) joins = walk.strides[k][walk.rank - 1] == strides[k][d] * shape[d];
    if (!joins) ++walk.rank;
    walk.sizes[walk.rank - 1] = joins ? walk.sizes[walk.rank - 1] * shape[d] : shape[d];
    for (int k = 0; k < K; ++k) walk.strides[k][walk.rank - 1] = strides[k][d];
  }
  if (walk.rank == 0) {
    walk.rank = 1;
    walk.sizes[0] = 1;
  }
  return walk;
}

// Whether operand k, of elements of `size` bytes, can be read in packs of N neighbours along the last dim: it lies so, or is
// one element there.
template <int K>
bool takes_packs(const Walk<K>& walk, int k, const void* data, size_t size, int n) {
  const int last = walk.rank - 1;
  if (walk.strides[k][last] == 0) return true;
  bool fits = walk.strides[k][last] == 1 && is_aligned(data, size * static_cast<size_t>(n));
  for (int d = 0; d < last; ++d) fits = fits && walk.strides[k][d] % n == 0;
  return fits;
}

// Where the operands have element `index`, counted in packs of N along the last dim.
template <int N, int K>
__device__ __forceinline__ void locate(const Walk<K>& walk, int64_t index, int64_t (&at)[K]) {
#pragma unroll
  for (int k = 0; k < K; ++k) at[k] = 0;
  for (int d = walk.rank - 1; d > 0; --d) {
    const bool is_last = d == walk.rank - 1;
    const int64_t size = is_last ? walk.sizes[d] / N : walk.sizes[d];
    const int64_t rest = quotient(index, size);
    const int64_t place = (index - rest * size) * (is_last ? N : 1);
#pragma unroll
    for (int k = 0; k < K; ++k) at[k] += place * walk.strides[k][d];
    index = rest;
  }
  const int64_t place = index * (walk.rank == 1 ? N : 1);
#pragma unroll
  for (int k = 0; k < K; ++k) at[k] += place * walk.strides[k][0];
}

}  // namespace troupe::cuda
