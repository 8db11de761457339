// Reductions down the columns of a matrix, whose order depends on the number of rows alone. A block has eight columns, so
// that even a narrow matrix has blocks for a whole GPU, and still reads whole sectors of memory.
#pragma once

#include "ops/cuda/launch.h"
#include "ops/cuda/numbers.h"

namespace troupe::cuda {

constexpr int kColumns = 8;
constexpr int kColumnRows = 128;  // that a block reads at a time
constexpr int kColumnWarps = kColumns * kColumnRows / kWarpSize;

template <class C, int kSums>
struct ColumnParts {
  C at[kSums][kColumnWarps][kColumns];
};

struct AddSums {
  template <class C>
  static __device__ C join(C a, C b) {
    return a + b;
  }
};

// f.add(row, column, sums) takes an element into the sums, which begin as f.start(); Join joins those of different rows;
// f.store(column, sums) gets them all.
template <class C, int kSums, class Join, class F>
__global__ void __launch_bounds__(kColumns* kColumnRows) columns_kernel(F f, int64_t rows, int64_t n) {
  ColumnParts<C, kSums>& parts = shared_memory<ColumnParts<C, kSums>>();
  const int warp = static_cast<int>(threadIdx.y * kColumns + threadIdx.x) / kWarpSize;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kColumns; first < n;
       first += static_cast<int64_t>(gridDim.x) * kColumns) {
    const int64_t column = first + threadIdx.x;
    C sums[kSums];
#pragma unroll
    for (int s = 0; s < kSums; ++s) sums[s] = f.start();
    if (column < n) {
      for (int64_t row = threadIdx.y; row < rows; row += kColumnRows) f.add(row, column, sums);
    }
#pragma unroll
    for (int s = 0; s < kSums; ++s) {
#pragma unroll
      for (int lanes = kColumns; lanes < kWarpSize; lanes *= 2) {
        sums[s] = Join::join(sums[s], __shfl_xor_sync(kAllLanes, sums[s], lanes));
      }
      if (threadIdx.y % (kWarpSize / kColumns) == 0) parts.at[s][warp][threadIdx.x] = sums[s];
    }
    __syncthreads();
    if (threadIdx.y == 0 && column < n) {
#pragma unroll
      for (int s = 0; s < kSums; ++s) {
        sums[s] = parts.at[s][0][threadIdx.x];
        for (int w = 1; w < kColumnWarps; ++w) sums[s] = Join::join(sums[s], parts.at[s][w][threadIdx.x]);
      }
      f.store(column, sums);
    }
    __syncthreads();
  }
}

template <class C, int kSums, class Join = AddSums, class F>
void for_columns(Stream& stream, int64_t rows, int64_t n, F f) {
  if (n == 0) return;
  launch(stream, blocks_for(n, kColumns), {kColumns, kColumnRows}, sizeof(ColumnParts<C, kSums>),
         columns_kernel<C, kSums, Join, F>, f, rows, n);
}

}  // namespace troupe::cuda
