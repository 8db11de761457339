// The backward pass of attention on tensor cores: what the gradient of q and those of k and v have in common.
#pragma once

#include "ops/cuda/tensor_attention.h"

namespace troupe::cuda {

// Of a query: the logarithm to base 2 of its sum of exponentials, infinity where it saw no key; and the sum of dout out.
struct alignas(8) TensorStatistics {
  float lse;
  float delta;
};

// p = 2^(score - lse) in place of a product of q and k, and p (dout v^T - delta) in place of one of dout and v; the scale of
// slopes comes last, to their sums. `scale` is that of scores times log2(e).
__device__ __forceinline__ void weigh(float& p, float& slope, const TensorStatistics& query, float scale) {
  p = exp2_approximately(fmaf(p, scale, -query.lse));
  slope = p * (slope - query.delta);
}

// As store_sums does, times the scale of scores.
template <class T, int kM, int kRows, int kDims>
__device__ __forceinline__ void store_gradient(T* to, int64_t step, int first, int rows, const TensorShapes& s,
                                               Sums<kM, kDims / 8>& sums, TensorTile<T, kRows, kDims>& tile, int row) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kDims / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[m][n][i] *= s.scale;
    }
  }
  store_sums(to, step, first, rows, s.dims, sums, tile, row);
}

struct TensorRuns {
  int count = 0;
  TensorRun at[kMostRuns];
};

// dq of a run's queries, and their statistics. tensor_attention_queries.cu
template <class T>
void tensor_query_gradient(const AttentionShapes& s, const TensorRun& run, const AttentionBackward<T>& b,
                           TensorStatistics* statistics, T* dq, Stream& stream);

// dk and dv, behind the gradients of the queries of all runs. tensor_attention_keys.cu
template <class T>
void tensor_key_gradients(const AttentionShapes& s, const TensorRuns& runs, const AttentionBackward<T>& b,
                          const TensorStatistics* statistics, T* dk, T* dv, Stream& stream);

// The statistics lie in the kernel's scratch.
template <class T>
void tensor_attention_gradient(const AttentionShapes& s, const KernelArgs& args, Stream& stream) {
  const AttentionBackward<T> b = backward_operands<T>(args);
  auto* statistics = reinterpret_cast<TensorStatistics*>(args.scratch.data());
  const size_t bytes = static_cast<size_t>(s.batch * s.heads * s.queries) * sizeof(TensorStatistics);
  CHECK(args.scratch.size() >= bytes && is_aligned(statistics, sizeof(TensorStatistics)), args.scratch.size(), bytes);
  TensorRuns runs;
  for_each_run(args, 1, 2, [&](const AttentionRun& run) {
    if (s.batch * s.heads * run.queries == 0) return;
    CHECK(runs.count < kMostRuns, runs.count);
    runs.at[runs.count++] = tensor_run(s, run);
    tensor_query_gradient(s, runs.at[runs.count - 1], b, statistics, args.outputs[0].as<T>(), stream);
  });
  if (s.batch * s.kv_heads * s.keys == 0) return;
  tensor_key_gradients(s, runs, b, statistics, args.outputs[1].as<T>(), args.outputs[2].as<T>(), stream);
}

}  // namespace troupe::cuda
