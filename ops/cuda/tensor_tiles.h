// Tiles of rows of 2-byte numbers in shared memory, as tensor cores want them: filled by copies that go on beside other work,
// read as fragments (mma.h) without two rows in one bank.
#pragma once

#include "ops/cuda/mma.h"
#include "ops/cuda/packs.h"

namespace troupe::cuda {

__device__ __forceinline__ int lane_of_warp() { return static_cast<int>(threadIdx.x) % kWarpSize; }
__device__ __forceinline__ int warp_of_block() { return static_cast<int>(threadIdx.x) / kWarpSize; }

// Rows of kDims numbers, in pieces of 16 bytes. All banks together have 128 bytes, which is as far as eight pieces go: these
// change places from row to row, so that pieces of one number in eight rows, from a multiple of eight on, are in all banks.
template <class T, int kRows, int kDims>
struct alignas(128) TensorTile {
  static constexpr int kPieces = kDims / kPack<T>;
  static_assert(kPieces % 8 == 0 && kRows % 8 == 0);
  T at[kRows * kDims];

  __device__ __forceinline__ T* piece(int row, int number) { return at + row * kDims + (number ^ row % 8) * kPack<T>; }

  // From the address of a row's first or second piece: of the one that is d dims (a multiple of 16) further, in the row that is
  // `rows` (a multiple of 8) further.
  static __device__ __forceinline__ SharedAddress further(SharedAddress piece, int rows, int d) {
    return (piece ^ static_cast<SharedAddress>(d % 64 * sizeof(T))) +
           static_cast<SharedAddress>((rows * kDims + d / 64 * 64) * sizeof(T));
  }
};

// Starts copies of rows first .. first + kRows - 1 of `from`, which has `rows` rows of `dims` numbers (a multiple of 8), by
// all kBlock threads; what is beyond becomes zero.
template <int kBlock, class T, int kRows, int kDims>
__device__ __forceinline__ void copy_rows(TensorTile<T, kRows, kDims>& to, const T* from, int64_t step, int first,
                                          int rows, int dims) {
  constexpr int kPieces = TensorTile<T, kRows, kDims>::kPieces;
  constexpr int kStep = kBlock / kPieces;  // rows between those of a thread
  static_assert(kRows % kStep == 0 && kStep % 8 == 0);
  const int number = static_cast<int>(threadIdx.x) % kPieces;
  const int row = static_cast<int>(threadIdx.x) / kPieces;
  const int rows_there = number * kPack<T> < dims ? rows - first - row : 0;
  const T* piece = from + (first + row) * step + number * kPack<T>;
  T* own = to.piece(row, number);
#pragma unroll
  for (int i = 0; i < kRows / kStep; ++i) {
    copy_async<kPackBytes>(own + i * kStep * kDims, piece, i * kStep < rows_there);
    piece += kStep * step;
  }
}

// Where a lane reads tiles. As left operands: 16 rows from `row` on and 16 dims.
template <class T, int kRows, int kDims>
__device__ __forceinline__ SharedAddress left_of_lane(TensorTile<T, kRows, kDims>& tile, int row) {
  const int lane = lane_of_warp();
  return shared_address(tile.piece(row + lane % 16, lane / 16));
}
// As two right operands, b[0..1] and b[2..3], whose columns are eight rows of the tile each, and whose rows are 16 dims.
template <class T, int kRows, int kDims>
__device__ __forceinline__ SharedAddress columns_of_lane(TensorTile<T, kRows, kDims>& tile) {
  const int lane = lane_of_warp();
  return shared_address(tile.piece(lane % 8 + lane / 16 * 8, lane / 8 % 2));
}
// Transposed, as two right operands whose rows are 16 rows of the tile, and whose columns are eight dims each.
template <class T, int kRows, int kDims>
__device__ __forceinline__ SharedAddress rows_of_lane(TensorTile<T, kRows, kDims>& tile) {
  return left_of_lane(tile, 0);
}

// Sums of kM x 16 rows and kN x 8 columns, which a warp holds.
template <int kM, int kN>
using Sums = float[kM][kN][4];

// The left operands of a warp, kM x 16 rows of a tile from `row` on: read when they are wanted, or held in registers.
template <class T, int kRows, int kDims>
struct LeftInTile {
  SharedAddress own;
  __device__ __forceinline__ LeftInTile(TensorTile<T, kRows, kDims>& tile, int row) : own(left_of_lane(tile, row)) {}
  __device__ __forceinline__ void load(uint32_t (&a)[4], int m, int d) const {
    load_matrices(a, TensorTile<T, kRows, kDims>::further(own, m * 16, d));
  }
};
template <int kM, int kDims>
struct LeftInRegisters {
  uint32_t at[kM][kDims / 16][4];
  template <class T, int kRows>
  __device__ __forceinline__ LeftInRegisters(TensorTile<T, kRows, kDims>& tile, int row) {
    const LeftInTile<T, kRows, kDims> in_tile(tile, row);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int d = 0; d < kDims; d += 16) in_tile.load(at[m][d / 16], m, d);
    }
  }
  __device__ __forceinline__ void load(uint32_t (&a)[4], int m, int d) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = at[m][d / 16][i];
  }
};

// sums += x y^T, over dims.
template <class T, int kM, int kN, class Left, int kDims>
__device__ __forceinline__ void add_row_products(Sums<kM, kN>& sums, const Left& x, TensorTile<T, kN * 8, kDims>& y) {
  const SharedAddress own = columns_of_lane(y);
#pragma unroll
  for (int d = 0; d < kDims; d += 16) {
    uint32_t a[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) x.load(a[m], m, d);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t b[4];
      load_matrices(b, y.further(own, n * 8, d));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma<T>(sums[m][n], a[m], b[0], b[1]);
        mma<T>(sums[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

// sums += weights x, with weights rounded to T.
template <class T, int kM, int kN, int kDims>
__device__ __forceinline__ void add_weighted_rows(Sums<kM, kDims / 8>& sums, const Sums<kM, kN>& weights,
                                                  TensorTile<T, kN * 8, kDims>& x) {
  const SharedAddress own = rows_of_lane(x);
#pragma unroll
  for (int n = 0; n < kN; n += 2) {
    uint32_t a[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&pairs)[4] = weights[m][n + i / 2];
        a[m][i] = packed<T>(pairs[i % 2 * 2], pairs[i % 2 * 2 + 1]);
      }
    }
#pragma unroll
    for (int d = 0; d < kDims; d += 16) {
      uint32_t b[4];
      load_transposed(b, x.further(own, n * 8, d));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma<T>(sums[m][d / 8], a[m], b[0], b[1]);
        mma<T>(sums[m][d / 8 + 1], a[m], b[2], b[3]);
      }
    }
  }
}

// Stores sums as rows first .. of `to`, below `rows`, with dims below `dims`, by way of the tile's rows from `row` on, which
// only this warp uses.
template <class T, int kM, int kRows, int kDims>
__device__ __forceinline__ void store_sums(T* to, int64_t step, int first, int rows, int dims,
                                           const Sums<kM, kDims / 8>& sums, TensorTile<T, kRows, kDims>& tile,
                                           int row) {
  constexpr int kPieces = TensorTile<T, kRows, kDims>::kPieces;
  const int lane = lane_of_warp();
  __syncwarp();
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kDims / 8; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const Pack<T, 2> pair{narrowed<T>(sums[m][n][half * 2]), narrowed<T>(sums[m][n][half * 2 + 1])};
        store_pack(tile.piece(row + m * 16 + half * 8 + lane / 4, n) + lane % 4 * 2, pair);
      }
    }
  }
  __syncwarp();
#pragma unroll 4
  for (int i = lane; i < kM * 16 * kPieces; i += kWarpSize) {
    const int own = i / kPieces;
    const int number = i % kPieces;
    if (first + own >= rows || number * kPack<T> >= dims) continue;
    store_pack(to + (first + own) * step + number * kPack<T>, load_pack<kPack<T>>(tile.piece(row + own, number)));
  }
}

}  // namespace troupe::cuda
