// With p = exp(scale q k^T - lse) and ds = p (dout v^T - sum(dout out)) scale: dq = ds k, dk = ds^T q, dv = p^T dout.

#include "ops/cuda/attention_tiles.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/tensor_attention_backward.h"

namespace troupe::cuda {
namespace {

// p = exp(score - lse) and, in `slopes`, ds = p (dout v^T - delta) scale, from products; 0 where the key is not seen.
template <class C>
__device__ __forceinline__ void weigh(C& p, C& slope, C lse, C delta, C scale, bool seen) {
  p = seen && lse != -infinity<C>() ? exp(p * scale - lse) : C(0);
  slope = seen ? p * ((slope - delta) * scale) : C(0);
}

// The sums over dims of dout out and the lse of rows first .. first + rows - 1 of queries.
template <class C, int kDims, class T>
__device__ __forceinline__ void load_statistics(BackwardShared<C, kDims>& shared, const AttentionBackward<T>& b,
                                                const AttentionShapes& s, int64_t at, int64_t lse_at, int64_t rows) {
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kOwn<C>; ++i) {
    const int64_t row = threadIdx.y + i * kSide;
    C sum = 0;
    for (int64_t d = threadIdx.x; row < rows && d < s.dims; d += kSide) {
      sum += widened(b.dout[at + row * s.q.row + d]) * widened(b.out[at + row * s.q.row + d]);
    }
    sum = row_sum(sum);
    if (threadIdx.x != 0) continue;
    shared.delta[row] = sum;
    shared.lse[row] = row < rows ? b.lse[lse_at + row] : C(0);
  }
  __syncthreads();
}

template <int kDims, class T>
__global__ void __launch_bounds__(kSide* kSide)
    query_gradient_kernel(AttentionShapes s, AttentionRun run, AttentionBackward<T> b, T* dq) {
  using C = Compute<T>;
  BackwardShared<C, kDims>& shared = shared_memory<BackwardShared<C, kDims>>();
  for_tiles<kDims, T>(s, s.heads, run.queries, [&](int64_t batch, int64_t head, int64_t first) {
    const int64_t rows = least(run.queries - first, kTile<C>);
    const int64_t at = batch * s.q.batch + head * s.q.head + (run.first_query + first) * s.q.row;
    const int64_t at_k = batch * s.k.batch + head / s.group() * s.k.head + run.first_key * s.k.row;
    const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + batch * s.keys;
    load_statistics<C, kDims>(shared, b, s, at, (batch * s.heads + head) * s.queries + run.first_query + first, rows);
    RowSums<C, kDims> sums = {};
    const int64_t keys = keys_below(s, run, first + rows);
    for (int64_t key = 0; key < keys; key += kTile<C>) {
      const int64_t columns = least(keys - key, kTile<C>);
      Tile<C> scores;
      Tile<C> slopes;
      products<C, kDims>(scores, shared, b.q + at, s.q.row, rows, b.k + at_k + key * s.k.row, s.k.row, columns, s.dims);
      products<C, kDims>(slopes, shared, b.dout + at, s.q.row, rows, b.v + at_k + key * s.k.row, s.k.row, columns,
                         s.dims);
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        const int row = static_cast<int>(threadIdx.y) + i * kSide;
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) {
          weigh(scores[i][j], slopes[i][j], shared.lse[row], shared.delta[row], static_cast<C>(s.scale),
                sees(s, run, mask, first + row, key + threadIdx.x + j * kSide));
        }
      }
      write_weights<C>(shared.weights, slopes);
      add_products<C, kDims>(sums, shared, shared.weights, b.k + at_k + key * s.k.row, s.k.row, columns, s.dims);
    }
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) {
      const int64_t row = threadIdx.y + i * kSide;
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
        const int64_t dim = threadIdx.x + d * kSide;
        if (row < rows && dim < s.dims) dq[at + row * s.q.row + dim] = narrowed<T>(sums[i][d]);
      }
    }
  });
}

// dk and dv of a tile of keys: the sums over the runs, the query heads that share the key head, and the queries, in order.
template <int kDims, class T>
__global__ void __launch_bounds__(kSide* kSide)
    key_gradient_kernel(AttentionShapes s, const __grid_constant__ AttentionRuns runs, AttentionBackward<T> b, T* dk,
                        T* dv) {
  using C = Compute<T>;
  BackwardShared<C, kDims>& shared = shared_memory<BackwardShared<C, kDims>>();
  for_tiles<kDims, T>(s, s.kv_heads, s.keys, [&](int64_t batch, int64_t kv_head, int64_t first) {
    const int64_t columns = least(s.keys - first, kTile<C>);
    const int64_t at_k = batch * s.k.batch + kv_head * s.k.head + first * s.k.row;
    const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + batch * s.keys;
    RowSums<C, kDims> dk_sums = {};
    RowSums<C, kDims> dv_sums = {};
    for (int r = 0; r < runs.count; ++r) {
      const AttentionRun& run = runs.at[r];
      const int64_t key = first - run.first_key;  // of the tile among the run's keys
      if (key + columns <= 0 || key >= run.keys) continue;
      // Queries before this one see none of the tile's keys.
      const int64_t unseen = s.causal ? key - run.query_offset : 0;
      const int64_t begin = unseen > 0 ? unseen / kTile<C> * kTile<C> : 0;
      for (int64_t head = kv_head * s.group(); head < (kv_head + 1) * s.group(); ++head) {
        for (int64_t query = begin; query < run.queries; query += kTile<C>) {
          const int64_t rows = least(run.queries - query, kTile<C>);
          const int64_t at = batch * s.q.batch + head * s.q.head + (run.first_query + query) * s.q.row;
          load_statistics<C, kDims>(shared, b, s, at, (batch * s.heads + head) * s.queries + run.first_query + query,
                                    rows);
          Tile<C> scores;
          Tile<C> slopes;
          products<C, kDims>(scores, shared, b.k + at_k, s.k.row, columns, b.q + at, s.q.row, rows, s.dims);
          products<C, kDims>(slopes, shared, b.v + at_k, s.k.row, columns, b.dout + at, s.q.row, rows, s.dims);
#pragma unroll
          for (int i = 0; i < kOwn<C>; ++i) {
            const int64_t j = key + threadIdx.y + i * kSide;
#pragma unroll
            for (int n = 0; n < kOwn<C>; ++n) {
              const int row = static_cast<int>(threadIdx.x) + n * kSide;
              weigh(scores[i][n], slopes[i][n], shared.lse[row], shared.delta[row], static_cast<C>(s.scale),
                    j >= 0 && sees(s, run, mask, query + row, j));
            }
          }
          write_weights<C>(shared.weights, scores);
          write_weights<C>(shared.more_weights, slopes);
          add_products<C, kDims>(dv_sums, shared, shared.weights, b.dout + at, s.q.row, rows, s.dims);
          add_products<C, kDims>(dk_sums, shared, shared.more_weights, b.q + at, s.q.row, rows, s.dims);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) {
      const int64_t row = threadIdx.y + i * kSide;
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
        const int64_t dim = threadIdx.x + d * kSide;
        if (row >= columns || dim >= s.dims) continue;
        dk[at_k + row * s.k.row + dim] = narrowed<T>(dk_sums[i][d]);
        dv[at_k + row * s.k.row + dim] = narrowed<T>(dv_sums[i][d]);
      }
    }
  });
}

}  // namespace

void attention_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const AttentionShapes s = attention_shapes(args, 1, 2, 6);
  with_any_float(args.inputs[1].dtype, [&](auto zero) {
    using Stored = decltype(zero);
    if constexpr (kIsLow<Stored>) {
      if (takes_tensor_cores<Stored>(s, args)) return tensor_attention_gradient<Stored>(s, args, stream);
    }
    with_dims(args, s.dims, [&]<int kDims>(std::integral_constant<int, kDims>) {
      using T = decltype(zero);
      using C = Compute<T>;
      const AttentionBackward<T> b = backward_operands<T>(args);
      AttentionRuns runs;
      for_each_run(args, 1, 2, [&](const AttentionRun& run) {
        if (s.batch * s.heads * run.queries == 0) return;
        CHECK(runs.count < kMostRuns, runs.count);
        runs.at[runs.count++] = run;
        launch(stream, blocks_of<T>(s, s.heads, run.queries), {kSide, kSide}, sizeof(BackwardShared<C, kDims>),
               query_gradient_kernel<kDims, T>, s, run, b, args.outputs[0].as<T>());
      });
      if (s.batch * s.kv_heads * s.keys == 0) return;
      launch(stream, blocks_of<T>(s, s.kv_heads, s.keys), {kSide, kSide}, sizeof(BackwardShared<C, kDims>),
             key_gradient_kernel<kDims, T>, s, runs, b, args.outputs[1].as<T>(), args.outputs[2].as<T>());
    });
  });
}

}  // namespace troupe::cuda
