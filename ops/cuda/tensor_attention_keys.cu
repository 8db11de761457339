// The gradients of k and v: a block has a tile of keys of one head and goes through the runs, the query heads that share the
// key head, and the queries, in order; the next tile of queries is copied while this one is computed with. Scores are
// transposed: rows are keys.

#include "ops/cuda/tensor_attention_backward.h"

namespace troupe::cuda {
namespace {

template <int kDims>
using KeyPlan = std::conditional_t<kDims <= 64, TensorPlan<64, 4, 2, 32, false>, TensorPlan<128, 8, 1, 64, false>>;

template <class T, class Plan>
struct KeyShared {
  typename Plan::template Rows<T> k, v;
  struct {
    typename Plan::template Others<T> q, dout;
    TensorStatistics statistics[Plan::kOthers];
  } stages[2];
};

// The tiles of kSize queries that see some of the keys from `first` on, `count` of them, in the order in which they are
// summed.
template <int kSize>
class QueryTiles {
 public:
  __device__ QueryTiles(const TensorRuns& runs, int group, int first, int count)
      : runs_(runs), group_(group), first_(first), count_(count) {
    enter_run();
  }
  __device__ bool is_over() const { return run_ == runs_.count; }
  __device__ void next() {
    query_ += kSize;
    if (query_ < run().queries) return;
    query_ = first_query();
    if (++head_ < group_) return;
    ++run_;
    enter_run();
  }
  __device__ const TensorRun& run() const { return runs_.at[run_]; }
  __device__ int head() const { return head_; }    // within the group
  __device__ int query() const { return query_; }  // of the run: the first of the tile
  // Of the tile's first key among the run's: negative where the run's keys begin within the tile.
  __device__ int key() const { return first_ - run().first_key; }

 private:
  __device__ int first_query() const {
    const int unseen = larger(key(), 0) - run().query_offset;
    return unseen > 0 ? unseen / kSize * kSize : 0;
  }
  __device__ void enter_run() {
    head_ = 0;
    for (; run_ < runs_.count; ++run_) {
      query_ = first_query();
      if (key() + count_ > 0 && key() < run().keys && query_ < run().queries) return;
    }
  }

  const TensorRuns& runs_;
  int group_, first_, count_;
  int run_ = 0;
  int head_ = 0;
  int query_ = 0;
};

// Where the query of a column, from `query` on, does not see the key of a row, from `key` on.
template <class Plan>
__device__ __forceinline__ void hide(typename Plan::Scores& weights, typename Plan::Scores& slopes,
                                     const TensorRun& run, int query, int key) {
#pragma unroll
  for (int n = 0; n < Plan::kOthers / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int seen = run.keys_of(query + own_column(n) + e) - key;
#pragma unroll
      for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (own_row(m, half) >= -key && own_row(m, half) < seen) continue;
          weights[m][n][half * 2 + e] = -infinity<float>();
          slopes[m][n][half * 2 + e] = 0;
        }
      }
    }
  }
}

// The gradients of keys that the mask hides: what a row has summed up is of its own key alone.
template <class Plan>
__device__ __forceinline__ void clear_masked(typename Plan::Outputs& sums, const uint8_t* mask, int key, int keys) {
#pragma unroll
  for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int own = key + own_row(m, half);
      if (own >= keys || mask[own] != 0) continue;
#pragma unroll
      for (int n = 0; n < Plan::kDims / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) sums[m][n][half * 2 + e] = 0;
      }
    }
  }
}

template <class T, class Plan>
__global__ void __launch_bounds__(Plan::kThreads)
    tensor_key_gradient_kernel(TensorShapes s, const __grid_constant__ TensorRuns runs, AttentionBackward<T> b,
                               const TensorStatistics* statistics, T* dk, T* dv) {
  auto& shared = shared_memory<KeyShared<T, Plan>>();
  const TilePlace place = tile_of_block(s.kv_heads, s.keys, Plan::kRows);
  const int first = place.tile * Plan::kRows;
  const int64_t at_k = place.batch * s.k.batch + place.head * s.k.head;
  copy_rows<Plan::kThreads>(shared.k, b.k + at_k, s.k.row, first, s.keys, s.dims);
  copy_rows<Plan::kThreads>(shared.v, b.v + at_k, s.k.row, first, s.keys, s.dims);
  close_copies();
  const auto copy_queries = [&](const QueryTiles<Plan::kOthers>& tiles, int number) {
    auto& stage = shared.stages[number];
    const TensorRun& run = tiles.run();
    const int head = place.head * s.group + tiles.head();
    const int64_t at = place.batch * s.q.batch + head * s.q.head + run.first_query * s.q.row;
    copy_rows<Plan::kThreads>(stage.q, b.q + at, s.q.row, tiles.query(), run.queries, s.dims);
    copy_rows<Plan::kThreads>(stage.dout, b.dout + at, s.q.row, tiles.query(), run.queries, s.dims);
    if (const int i = static_cast<int>(threadIdx.x); i < Plan::kOthers) {
      const bool is_there = tiles.query() + i < run.queries;
      const int64_t at_row = (int64_t{place.batch} * s.heads + head) * s.queries + run.first_query + tiles.query();
      copy_async<sizeof(TensorStatistics)>(&stage.statistics[i], statistics + (is_there ? at_row + i : 0), is_there);
    }
    close_copies();
  };
  const int row = warp_of_block() * Plan::kWarpRows;
  const LeftInTile<T, Plan::kRows, Plan::kDims> k_left(shared.k, row);
  const LeftInTile<T, Plan::kRows, Plan::kDims> v_left(shared.v, row);
  const float scale = s.scale * kLog2E;
  typename Plan::Outputs dk_sums = {};
  typename Plan::Outputs dv_sums = {};
  QueryTiles<Plan::kOthers> tiles(runs, s.group, first, smaller(Plan::kRows, s.keys - first));
  int number = 0;
  if (!tiles.is_over()) copy_queries(tiles, number);
  while (!tiles.is_over()) {
    wait_for_copies<0>();
    __syncthreads();
    auto& stage = shared.stages[number];
    const TensorRun& run = tiles.run();
    const int query = tiles.query();
    const int key = tiles.key() + row;  // the warp's first
    number = 1 - number;
    tiles.next();
    if (!tiles.is_over()) copy_queries(tiles, number);
    if (key + Plan::kWarpRows <= 0 || key >= run.keys_of(query + Plan::kOthers - 1)) continue;
    typename Plan::Scores weights = {};
    typename Plan::Scores slopes = {};
    add_row_products<T>(weights, k_left, stage.q);
    add_row_products<T>(slopes, v_left, stage.dout);
    if (key < 0 || key + Plan::kWarpRows > run.keys_of(query)) hide<Plan>(weights, slopes, run, query, key);
#pragma unroll
    for (int n = 0; n < Plan::kOthers / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const TensorStatistics own = stage.statistics[own_column(n) + e];
#pragma unroll
        for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            weigh(weights[m][n][half * 2 + e], slopes[m][n][half * 2 + e], own, scale);
          }
        }
      }
    }
    add_weighted_rows<T>(dv_sums, weights, stage.dout);
    add_weighted_rows<T>(dk_sums, slopes, stage.q);
  }
  if (s.mask != nullptr) {
    clear_masked<Plan>(dk_sums, s.mask + int64_t{place.batch} * s.keys, first + row, s.keys);
    clear_masked<Plan>(dv_sums, s.mask + int64_t{place.batch} * s.keys, first + row, s.keys);
  }
  wait_for_copies<0>();
  __syncthreads();
  store_gradient(dk + at_k, s.k.row, first + row, s.keys, s, dk_sums, shared.k, row);
  store_sums(dv + at_k, s.k.row, first + row, s.keys, s.dims, dv_sums, shared.v, row);
}

}  // namespace

template <class T>
void tensor_key_gradients(const AttentionShapes& s, const TensorRuns& runs, const AttentionBackward<T>& b,
                          const TensorStatistics* statistics, T* dk, T* dv, Stream& stream) {
  with_tensor_dims(s.dims, [&]<int kDims>(std::integral_constant<int, kDims>) {
    using Plan = KeyPlan<kDims>;
    launch_tiles(stream, s.batch, s.kv_heads, s.keys, Plan::kRows, Plan::kThreads, sizeof(KeyShared<T, Plan>),
                 tensor_key_gradient_kernel<T, Plan>, tensor_shapes(s), runs, b, statistics, dk, dv);
  });
}

template void tensor_key_gradients(const AttentionShapes&, const TensorRuns&, const AttentionBackward<__nv_bfloat16>&,
                                   const TensorStatistics*, __nv_bfloat16*, __nv_bfloat16*, Stream&);
template void tensor_key_gradients(const AttentionShapes&, const TensorRuns&, const AttentionBackward<__half>&,
                                   const TensorStatistics*, __half*, __half*, Stream&);

}  // namespace troupe::cuda
