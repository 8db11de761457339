// Attention on tensor cores, for bf16 and f16: as attention_tiles.h has it, with products of tiles that warps hold in registers (mma.h),
// in the manner of Dao (2023), "FlashAttention-2". Scores, their softmax and all sums are float32; what multiplies v, dout,
// q and k is rounded to T.
//
// Sums go over tiles in the order of the sequence, from its first key or query on. What is hidden adds zeros, so that the
// bits of a row depend on its own query (or key) and on what that sees alone.
#pragma once

#include <algorithm>
#include <cfloat>
#include <type_traits>

#include "ops/cuda/attention_shapes.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/tensor_tiles.h"

namespace troupe::cuda {

// ---- The host's part ----

constexpr int64_t kMostTensorDims = 128;

// Whether the operands are such that rows can be copied in pieces.
template <class T>
bool takes_tensor_cores(const AttentionShapes& s, const KernelArgs& args) {
  const auto in_pieces = [](const TensorView& x) { return is_aligned(x.data, kPackBytes); };
  return s.dims % kPack<T> == 0 && s.dims <= kMostTensorDims && s.scale >= FLT_MIN && s.scale <= FLT_MAX &&
         std::all_of(args.inputs.begin(), args.inputs.begin() + 3, in_pieces) &&
         std::all_of(args.outputs.begin(), args.outputs.end(), in_pieces);
}

// For T of __nv_bfloat16 and __half. tensor_attention_forward.cu
template <class T>
void tensor_attention(const AttentionShapes& s, const KernelArgs& args, Stream& stream);

// ---- What the kernels share ----

constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

// A block of kWarps warps has kM x 16 rows per warp and goes through tiles of kOthers rows, of kDims dims each. It holds its
// rows in registers, or reads them from shared memory as often as it needs them.
template <int kDims_, int kWarps_, int kM_, int kOthers_, bool kHolds_>
struct TensorPlan {
  static constexpr int kDims = kDims_;
  static constexpr int kWarps = kWarps_;
  static constexpr int kM = kM_;
  static constexpr int kOthers = kOthers_;
  static constexpr bool kHolds = kHolds_;
  static constexpr int kThreads = kWarps * kWarpSize;
  static constexpr int kWarpRows = kM * 16;
  static constexpr int kRows = kWarps * kWarpRows;

  template <class T>
  using Rows = TensorTile<T, kRows, kDims>;
  template <class T>
  using Others = TensorTile<T, kOthers, kDims>;
  template <class T>
  using Left = std::conditional_t<kHolds, LeftInRegisters<kM, kDims>, LeftInTile<T, kRows, kDims>>;
  using Scores = Sums<kM, kOthers / 8>;
  using Outputs = Sums<kM, kDims / 8>;
};

struct TensorShapes {
  int heads, kv_heads, group, queries, keys, dims;
  Steps q, k;
  const uint8_t* mask;
  float scale;
};

// An AttentionRun. Query i sees the first `keys_of(i)` of its keys, but those that the mask hides.
struct TensorRun {
  int first_query, queries, first_key, keys, query_offset;

  __device__ __forceinline__ int keys_of(int query) const {
    const int seen = query + query_offset + 1;
    return seen < 0 ? 0 : seen < keys ? seen : keys;
  }
};

inline TensorShapes tensor_shapes(const AttentionShapes& s) {
  constexpr int64_t kMost = 1 << 30;
  CHECK(s.heads < kMost && s.queries < kMost && s.keys < kMost, s.heads, s.queries, s.keys);
  const auto whole = [](int64_t n) { return static_cast<int>(n); };
  return {whole(s.heads),
          whole(s.kv_heads),
          whole(s.group()),
          whole(s.queries),
          whole(s.keys),
          whole(s.dims),
          s.q,
          s.k,
          s.mask,
          static_cast<float>(s.scale)};
}

inline TensorRun tensor_run(const AttentionShapes& s, const AttentionRun& run) {
  const int64_t offset = s.causal ? std::clamp(run.query_offset, -run.queries, run.keys) : run.keys;
  const auto whole = [](int64_t n) { return static_cast<int>(n); };
  return {whole(run.first_query), whole(run.queries), whole(run.first_key), whole(run.keys), whole(offset)};
}

// Starts a block per tile of `tile_rows` of the rows of each head.
template <class... Parameters>
void launch_tiles(Stream& stream, int64_t batch, int64_t heads, int64_t rows, int64_t tile_rows, int threads,
                  size_t shared_bytes, void (*kernel)(Parameters...), std::type_identity_t<Parameters>... arguments) {
  const int64_t blocks = batch * heads * ((rows + tile_rows - 1) / tile_rows);
  CHECK(blocks <= INT32_MAX, blocks);
  launch(stream, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), shared_bytes, kernel, arguments...);
}

// fn(a std::integral_constant: the dims that tiles have).
template <class Fn>
void with_tensor_dims(int64_t dims, Fn&& fn) {
  if (dims <= 64) return fn(std::integral_constant<int, 64>{});
  fn(std::integral_constant<int, 128>{});
}

// ---- The device's part ----

struct TilePlace {
  int batch, head, tile, tiles;
};

// What a block of launch_tiles has.
__device__ __forceinline__ TilePlace tile_of_block(int heads, int rows, int tile_rows) {
  const int tiles = (rows + tile_rows - 1) / tile_rows;
  const int block = static_cast<int>(blockIdx.x);
  return {block / tiles / heads, block / tiles % heads, block % tiles, tiles};
}

// Over the four lanes that hold a row: all of them get the result.
__device__ __forceinline__ float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, 1));
  return fmaxf(value, __shfl_xor_sync(kAllLanes, value, 2));
}
__device__ __forceinline__ float quad_sum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}

// The rows that a lane holds of the kM x 16 rows of its warp: two for each m.
__device__ __forceinline__ int own_row(int m, int half) { return m * 16 + half * 8 + lane_of_warp() / 4; }
// The columns: two for each n.
__device__ __forceinline__ int own_column(int n) { return n * 8 + lane_of_warp() % 4 * 2; }

// Goes through the tiles of kOthers keys: use(key) computes with the one from `key` on, while copy(key) copies the next. The
// first has been copied for all threads; the warp needs none from `keys_of_warp` on.
template <int kOthers, class Copy, class Use>
__device__ __forceinline__ void for_key_tiles(int keys, int keys_of_warp, Copy copy, Use use) {
  for (int key = 0; key < keys; key += kOthers) {
    if (key > 0) {
      wait_for_copies<0>();
      __syncthreads();
    }
    if (key + kOthers < keys) copy(key + kOthers);
    if (key < keys_of_warp) use(key);
  }
}

// Calls hide(m, n, i) for the sums [m][n][i] of a lane whose query does not see their key. The warp has queries from `query`
// on; the tile, keys from `key` on.
template <int kM, int kN, class Hide>
__device__ __forceinline__ void for_hidden(const TensorShapes& s, const TensorRun& run, int batch, int query, int key,
                                           Hide hide) {
  if (s.mask == nullptr && key + kN * 8 <= run.keys_of(query)) return;
  const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + int64_t{batch} * s.keys + run.first_key + key;
  int seen[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) seen[m][half] = run.keys_of(query + own_row(m, half)) - key;
  }
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int column = own_column(n) + e;
      const bool is_masked = mask != nullptr && key + column < run.keys && mask[column] == 0;
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (is_masked || column >= seen[m][half]) hide(m, n, half * 2 + e);
        }
      }
    }
  }
}

}  // namespace troupe::cuda
