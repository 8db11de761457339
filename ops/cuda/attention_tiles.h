// Attention block by block: scores never reach memory. A block of threads has some queries (or keys, for the gradients of
// these) of one head and goes through the others in order. What blocks do together; all of their threads must call these.
#pragma once

#include <string>
#include <type_traits>

#include "ops/cuda/attention_shapes.h"
#include "ops/cuda/launch.h"

namespace troupe::cuda {

constexpr int kSide = 16;   // a block has 16 x 16 threads
constexpr int kChunk = 16;  // of the head's dims, for scores
constexpr int kTerms = 8;   // of what is summed over, for outputs

// A block's tile of scores has kTile x kTile; each thread has kOwn x kOwn of them, 16 apart.
template <class C>
constexpr int kOwn = sizeof(C) == 8 ? 2 : 4;
template <class C>
constexpr int kTile = kSide * kOwn<C>;

template <class C>
using Tile = C[kOwn<C>][kOwn<C>];
// Of the tile's rows, 16 apart, and of the head's dims, 16 apart.
template <class C, int kDims>
using RowSums = C[kOwn<C>][kDims];

__device__ __forceinline__ int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class C, int kDims>
struct ForwardShared {
  union {
    struct {
      C x[kChunk][kTile<C> + 1];
      C y[kChunk][kTile<C> + 1];
    } chunks;
    C terms[kTerms][kSide * kDims];
  };
  C weights[kTile<C>][kTile<C> + 1];
};

template <class C, int kDims>
struct BackwardShared : ForwardShared<C, kDims> {
  C more_weights[kTile<C>][kTile<C> + 1];
  C lse[kTile<C>];
  C delta[kTile<C>];
};

template <class C, class T>
__device__ __forceinline__ void load_chunk(C (&chunk)[kChunk][kTile<C> + 1], const T* x, int64_t step, int64_t rows,
                                           int64_t first_dim, int64_t dims) {
  for (int i = static_cast<int>(threadIdx.y * kSide + threadIdx.x); i < kChunk * kTile<C>; i += kSide * kSide) {
    const int d = i % kChunk;
    const int row = i / kChunk;
    chunk[d][row] = row < rows && first_dim + d < dims ? widened(x[row * step + first_dim + d]) : C(0);
  }
}

// tile = x y^T, of the first `rows` of x and `columns` of y; 0 elsewhere.
template <class C, int kDims, class T>
__device__ __forceinline__ void products(Tile<C>& tile, ForwardShared<C, kDims>& shared, const T* x, int64_t x_step,
                                         int64_t rows, const T* y, int64_t y_step, int64_t columns, int64_t dims) {
#pragma unroll
  for (int i = 0; i < kOwn<C>; ++i) {
#pragma unroll
    for (int j = 0; j < kOwn<C>; ++j) tile[i][j] = 0;
  }
  for (int64_t first = 0; first < dims; first += kChunk) {
    __syncthreads();
    load_chunk<C>(shared.chunks.x, x, x_step, rows, first, dims);
    load_chunk<C>(shared.chunks.y, y, y_step, columns, first, dims);
    __syncthreads();
    const int here = static_cast<int>(least(dims - first, kChunk));
    for (int d = 0; d < here; ++d) {
      C left[kOwn<C>];
      C right[kOwn<C>];
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        left[i] = shared.chunks.x[d][threadIdx.y + i * kSide];
        right[i] = shared.chunks.y[d][threadIdx.x + i * kSide];
      }
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) tile[i][j] = fma(left[i], right[j], tile[i][j]);
      }
    }
  }
}

template <class C>
__device__ __forceinline__ void write_weights(C (&weights)[kTile<C>][kTile<C> + 1], const Tile<C>& tile) {
#pragma unroll
  for (int i = 0; i < kOwn<C>; ++i) {
#pragma unroll
    for (int j = 0; j < kOwn<C>; ++j) weights[threadIdx.y + i * kSide][threadIdx.x + j * kSide] = tile[i][j];
  }
}

// sums += weights x, where x has `terms` rows.
template <class C, int kDims, class T>
__device__ __forceinline__ void add_products(RowSums<C, kDims>& sums, ForwardShared<C, kDims>& shared,
                                             const C (&weights)[kTile<C>][kTile<C> + 1], const T* x, int64_t step,
                                             int64_t terms, int64_t dims) {
  for (int first = 0; first < terms; first += kTerms) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.y * kSide + threadIdx.x); i < kTerms * kSide * kDims; i += kSide * kSide) {
      const int d = i % (kSide * kDims);
      const int term = i / (kSide * kDims);
      shared.terms[term][d] = first + term < terms && d < dims ? widened(x[(first + term) * step + d]) : C(0);
    }
    __syncthreads();
    for (int term = 0; term < kTerms && first + term < terms; ++term) {
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        const C weight = weights[threadIdx.y + i * kSide][first + term];
#pragma unroll
        for (int d = 0; d < kDims; ++d) {
          sums[i][d] = fma(weight, shared.terms[term][threadIdx.x + d * kSide], sums[i][d]);
        }
      }
    }
  }
}

// Over the 16 threads that have a row of the tile: all of them get the result.
template <class C>
__device__ __forceinline__ C row_max(C value) {
#pragma unroll
  for (int lanes = kSide / 2; lanes > 0; lanes /= 2) value = larger(value, __shfl_xor_sync(kAllLanes, value, lanes));
  return value;
}
template <class C>
__device__ __forceinline__ C row_sum(C value) {
#pragma unroll
  for (int lanes = kSide / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

template <int kDims, class T, class Body>
__device__ __forceinline__ void for_tiles(const AttentionShapes& s, int64_t heads, int64_t rows, Body body) {
  const int64_t tiles = (rows + kTile<Compute<T>> - 1) / kTile<Compute<T>>;
  for (int64_t t = blockIdx.x; t < s.batch * heads * tiles; t += gridDim.x) {
    body(t / tiles / heads, t / tiles % heads, t % tiles * kTile<Compute<T>>);
    __syncthreads();
  }
}

// ---- The host's part ----

constexpr int64_t kMostDims = 256;

// fn(16ths of dims that a thread has).
template <class Fn>
void with_dims(const KernelArgs& args, int64_t dims, Fn&& fn) {
  if (dims <= 64) return fn(std::integral_constant<int, 4>{});
  if (dims <= 128) return fn(std::integral_constant<int, 8>{});
  if (dims <= kMostDims) return fn(std::integral_constant<int, 16>{});
  *args.failure = "heads have " + std::to_string(dims) + " dims, but attention on CUDA devices takes at most " +
                  std::to_string(kMostDims);
}

template <class T>
unsigned blocks_of(const AttentionShapes& s, int64_t heads, int64_t rows) {
  return blocks_for(s.batch * heads * ((rows + kTile<Compute<T>> - 1) / kTile<Compute<T>>), 1);
}

}  // namespace troupe::cuda
