#include "ops/cuda/cublas_products.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/numbers.h"
#include "ops/cuda/tiles.h"

namespace troupe::cuda {
namespace {

__device__ __forceinline__ int64_t used_rows(const Gemm& g, int64_t group) {
  const int64_t count = g.rows.counts[group] - g.rows.first_place;
  return count < 0 ? 0 : count < g.rows.places ? count : g.rows.places;
}

// Whether place k of what is summed over is there.
__device__ __forceinline__ bool is_summed(const Gemm& g, int64_t product, int64_t k) {
  if (k >= g.k) return false;
  if (g.rows.of != GemmRows::Of::inner) return true;
  const int64_t group = quotient(k, g.rows.places);
  return k - group * g.rows.places < used_rows(g, product * quotient(g.k, g.rows.places) + group);
}

// Reads a tile of op(x): `outer` runs over m or n, from `first` on; k from `first_k` on. Neighbouring threads read
// neighbours in memory.
template <class T, int kOwn>
__device__ __forceinline__ void load_tile(Tile<Compute<T>, kOwn>& tile, const Gemm& g, int64_t product, const T* x,
                                          int64_t ld, bool k_lies_along, int64_t first, int64_t outer,
                                          int64_t first_k) {
  const int thread = static_cast<int>(threadIdx.y * kSide + threadIdx.x);
#pragma unroll
  for (int i = thread; i < kInner * kSize<kOwn>; i += kSide * kSide) {
    const int k = k_lies_along ? i % kInner : i / kSize<kOwn>;
    const int o = k_lies_along ? i / kInner : i % kSize<kOwn>;
    const bool here = first + o < outer && is_summed(g, product, first_k + k);
    const int64_t at = k_lies_along ? (first + o) * ld + first_k + k : (first_k + k) * ld + first + o;
    tile[k][o] = here ? widened(x[at]) : Compute<T>(0);
  }
}

template <int kOwn, class T, class Out>
__global__ void __launch_bounds__(kSide* kSide) gemm_kernel(const __grid_constant__ Gemm g) {
  using C = Compute<T>;
  constexpr int kTile = kSize<kOwn>;
  Tiles<C, kOwn>& tiles = shared_memory<Tiles<C, kOwn>>();
  const int64_t row_tiles = (g.m + kTile - 1) / kTile;
  const int64_t column_tiles = (g.n + kTile - 1) / kTile;
  for (int64_t t = blockIdx.x; t < g.batch * row_tiles * column_tiles; t += gridDim.x) {
    const int64_t product = t / (row_tiles * column_tiles);
    const int64_t first_row = t / column_tiles % row_tiles * kTile;
    const int64_t first_column = t % column_tiles * kTile;
    const T* a = static_cast<const T*>(g.a) + product * g.stride_a;
    const T* b = static_cast<const T*>(g.b) + product / g.b_group * g.stride_b;
    const int64_t rows = g.rows.of == GemmRows::Of::a ? used_rows(g, product) : g.m;
    C sums[kOwn][kOwn] = {};
    for (int64_t first_k = 0; first_k < g.k && first_row < rows; first_k += kInner) {
      load_tile<T, kOwn>(tiles.a, g, product, a, g.lda, !g.trans_a, first_row, rows, first_k);
      load_tile<T, kOwn>(tiles.b, g, product, b, g.ldb, g.trans_b, first_column, g.n, first_k);
      __syncthreads();
      multiply_tiles<C, kOwn>(tiles, sums);
      __syncthreads();
    }
    Out* c = static_cast<Out*>(g.c) + product * g.stride_c;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int64_t row = first_row + threadIdx.y + i * kSide;
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        const int64_t column = first_column + threadIdx.x + j * kSide;
        if (row >= g.m || column >= g.n) continue;
        C value = static_cast<C>(g.alpha) * sums[i][j];
        if (g.beta != 0) value += static_cast<C>(g.beta) * widened(c[row * g.ldc + column]);
        if (g.bias != nullptr && row < rows) value += widened(static_cast<const T*>(g.bias)[column]);
        c[row * g.ldc + column] = narrowed<Out>(value);
      }
    }
  }
}

template <int kOwn, class T, class Out>
void run(const Gemm& g, Stream& stream) {
  constexpr int kTile = kSize<kOwn>;
  const int64_t tiles = g.batch * ((g.m + kTile - 1) / kTile) * ((g.n + kTile - 1) / kTile);
  launch(stream, blocks_for(tiles, 1), {kSide, kSide}, sizeof(Tiles<Compute<T>, kOwn>), gemm_kernel<kOwn, T, Out>, g);
}

// Large tiles where they fill a GPU: each number that is read then serves for more products.
template <class T, class Out>
void run(const Gemm& g, Stream& stream) {
  const bool is_large = g.m >= 128 && g.n >= 128 && g.batch * (g.m / 128) * (g.n / 128) >= 64;
  is_large ? run<8, T, Out>(g, stream) : run<2, T, Out>(g, stream);
}

}  // namespace

void gemm(const Gemm& g, Stream& stream) {
  if (g.batch * g.m * g.n == 0) return;
  const CudaQueue& queue = queue_of(stream);
  // Queues have no other state than this (cublas_products).
  auto* library = static_cast<CublasProducts*>(queue.state());
  if (library != nullptr && library->run(g, queue.stream())) return;
  with_any_float(g.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (g.out_dtype == g.dtype) return run<T, T>(g, stream);
    CHECK(g.out_dtype == DType::f32, name_of(g.dtype), name_of(g.out_dtype));
    if constexpr (kIsLow<T>) run<T, float>(g, stream);
  });
}

}  // namespace troupe::cuda
