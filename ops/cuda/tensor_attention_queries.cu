// The gradient of q: a block has a tile of queries of one head and goes through tiles of keys and values, of which the next
// is copied while this one is computed with. It leaves each query's statistics for the gradients of k and v.

#include "ops/cuda/tensor_attention_backward.h"

namespace troupe::cuda {
namespace {

template <int kDims>
using QueryPlan = std::conditional_t<kDims <= 64, TensorPlan<64, 4, 2, 32, true>, TensorPlan<128, 8, 1, 64, true>>;

template <class T, class Plan>
struct QueryShared {
  typename Plan::template Rows<T> q, dout;
  struct {
    typename Plan::template Others<T> k, v;
  } stages[2];
};

// The sum of dout out of a row, of which a lane has the columns that it holds of others; all four lanes get it.
template <class T, int kDims>
__device__ __forceinline__ float delta_of(const T* dout, const T* out, bool is_there, int dims) {
  float sum = 0;
#pragma unroll
  for (int n = 0; n < kDims / 8; ++n) {
    if (!is_there || n * 8 >= dims) continue;
    const Pack<T, 2> left = load_pack<2>(dout + own_column(n));
    const Pack<T, 2> right = load_pack<2>(out + own_column(n));
#pragma unroll
    for (int e = 0; e < 2; ++e) sum = fmaf(widened(left.at[e]), widened(right.at[e]), sum);
  }
  return quad_sum(sum);
}

template <class T, class Plan>
__global__ void __launch_bounds__(Plan::kThreads)
    tensor_query_gradient_kernel(TensorShapes s, TensorRun run, AttentionBackward<T> b, TensorStatistics* statistics,
                                 T* dq) {
  auto& shared = shared_memory<QueryShared<T, Plan>>();
  const TilePlace place = tile_of_block(s.heads, run.queries, Plan::kRows);
  // Behind a causal mask the last queries see the most keys: they start first.
  const int first = (place.tiles - 1 - place.tile) * Plan::kRows;
  const int64_t at = place.batch * s.q.batch + place.head * s.q.head + run.first_query * s.q.row;
  const int64_t at_k = place.batch * s.k.batch + place.head / s.group * s.k.head + run.first_key * s.k.row;
  const int64_t at_row = (int64_t{place.batch} * s.heads + place.head) * s.queries + run.first_query;
  const int keys = run.keys_of(smaller(first + Plan::kRows, run.queries) - 1);
  const auto copy_keys = [&](int key) {
    auto& stage = shared.stages[key / Plan::kOthers % 2];
    copy_rows<Plan::kThreads>(stage.k, b.k + at_k, s.k.row, key, run.keys, s.dims);
    copy_rows<Plan::kThreads>(stage.v, b.v + at_k, s.k.row, key, run.keys, s.dims);
    close_copies();
  };
  copy_rows<Plan::kThreads>(shared.q, b.q + at, s.q.row, first, run.queries, s.dims);
  copy_rows<Plan::kThreads>(shared.dout, b.dout + at, s.q.row, first, run.queries, s.dims);
  close_copies();
  if (keys > 0) copy_keys(0);
  const int row = warp_of_block() * Plan::kWarpRows;
  TensorStatistics own[Plan::kM][2];
#pragma unroll
  for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first + row + own_row(m, half);
      const bool is_there = query < run.queries;
      const float lse = is_there ? b.lse[at_row + query] : 0.0f;
      own[m][half].lse = lse == -infinity<float>() ? infinity<float>() : lse * kLog2E;
      const int64_t at_query = is_there ? at + query * s.q.row : 0;
      own[m][half].delta = delta_of<T, Plan::kDims>(b.dout + at_query, b.out + at_query, is_there, s.dims);
      if (is_there && lane_of_warp() % 4 == 0) statistics[at_row + query] = own[m][half];
    }
  }
  wait_for_copies<0>();
  __syncthreads();
  const typename Plan::template Left<T> q_left(shared.q, row);
  const typename Plan::template Left<T> dout_left(shared.dout, row);
  const float scale = s.scale * kLog2E;
  typename Plan::Outputs sums = {};
  const int keys_of_warp = first + row < run.queries ? run.keys_of(first + row + Plan::kWarpRows - 1) : 0;
  for_key_tiles<Plan::kOthers>(keys, keys_of_warp, copy_keys, [&](int key) {
    auto& stage = shared.stages[key / Plan::kOthers % 2];
    typename Plan::Scores weights = {};
    typename Plan::Scores slopes = {};
    add_row_products<T>(weights, q_left, stage.k);
    add_row_products<T>(slopes, dout_left, stage.v);
    for_hidden<Plan::kM, Plan::kOthers / 8>(s, run, place.batch, first + row, key, [&](int m, int n, int i) {
      weights[m][n][i] = -infinity<float>();
      slopes[m][n][i] = 0;
    });
#pragma unroll
    for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
      for (int n = 0; n < Plan::kOthers / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) weigh(weights[m][n][i], slopes[m][n][i], own[m][i / 2], scale);
      }
    }
    add_weighted_rows<T>(sums, slopes, stage.k);
  });
  store_gradient(dq + at, s.q.row, first + row, run.queries, s, sums, shared.q, row);
}

}  // namespace

template <class T>
void tensor_query_gradient(const AttentionShapes& s, const TensorRun& run, const AttentionBackward<T>& b,
                           TensorStatistics* statistics, T* dq, Stream& stream) {
  with_tensor_dims(s.dims, [&]<int kDims>(std::integral_constant<int, kDims>) {
    using Plan = QueryPlan<kDims>;
    launch_tiles(stream, s.batch, s.heads, run.queries, Plan::kRows, Plan::kThreads, sizeof(QueryShared<T, Plan>),
                 tensor_query_gradient_kernel<T, Plan>, tensor_shapes(s), run, b, statistics, dq);
  });
}

template void tensor_query_gradient(const AttentionShapes&, const TensorRun&, const AttentionBackward<__nv_bfloat16>&,
                                    TensorStatistics*, __nv_bfloat16*, Stream&);
template void tensor_query_gradient(const AttentionShapes&, const TensorRun&, const AttentionBackward<__half>&,
                                    TensorStatistics*, __half*, Stream&);

}  // namespace troupe::cuda
