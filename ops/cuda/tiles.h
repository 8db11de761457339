// Tiles of matrix products in shared memory, which a block of 16 x 16 threads multiplies.
#pragma once

#include "ops/cuda/device.h"

namespace troupe::cuda {

constexpr int kInner = 16;  // of what is summed over at a time

// kSize x kSize numbers of the product per block of kSide x kSide threads, each of which has kOwn x kOwn of them, kSide apart.
constexpr int kSide = 16;
template <int kOwn>
constexpr int kSize = kSide * kOwn;

template <class C, int kOwn>
using Tile = C[kInner][kSize<kOwn> + 1];  // one more, so that neighbours along k lie in different banks

template <class C, int kOwn>
struct Tiles {
  Tile<C, kOwn> a;
  Tile<C, kOwn> b;
};

// Adds the products to the sums, one k after another.
template <class C, int kOwn>
__device__ __forceinline__ void multiply_tiles(const Tiles<C, kOwn>& tiles, C (&sums)[kOwn][kOwn]) {
#pragma unroll
  for (int k = 0; k < kInner; ++k) {
    C left[kOwn];
    C right[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      left[i] = tiles.a[k][threadIdx.y + i * kSide];
      right[i] = tiles.b[k][threadIdx.x + i * kSide];
    }
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
#pragma unroll
      for (int j = 0; j < kOwn; ++j) sums[i][j] = fma(left[i], right[j], sums[i][j]);
    }
  }
}

}  // namespace troupe::cuda
