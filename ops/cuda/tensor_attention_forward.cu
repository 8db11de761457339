// A block has a tile of queries of one head and goes through tiles of keys and values, of which the next is copied while
// this one is computed with.

#include "ops/cuda/tensor_attention.h"

namespace troupe::cuda {
namespace {

template <int kDims>
using ForwardPlan = TensorPlan<kDims, 4, 2, 64, kDims <= 64>;

template <class T, class Plan>
struct ForwardShared {
  typename Plan::template Rows<T> q;
  struct {
    typename Plan::template Others<T> k, v;
  } stages[2];
};

// The softmax of rows so far, in which 2 to the power of the largest score stands for 1.
template <class Plan>
struct RunningSoftmax {
  float most[Plan::kM][2];   // scores, times log2(e)
  float total[Plan::kM][2];  // of the lane's own columns

  __device__ __forceinline__ RunningSoftmax() {
#pragma unroll
    for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        most[m][half] = -infinity<float>();
        total[m][half] = 0;
      }
    }
  }

  // Makes weights of a tile's products, and takes earlier outputs to the same unit. `scale` is that of scores times log2(e).
  __device__ __forceinline__ void add(typename Plan::Scores& scores, typename Plan::Outputs& outputs, float scale) {
#pragma unroll
    for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float now = -infinity<float>();
#pragma unroll
        for (int n = 0; n < Plan::kOthers / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) now = fmaxf(now, scores[m][n][half * 2 + e]);
        }
        now = fmaxf(most[m][half], quad_max(now) * scale);
        const float unit = now == -infinity<float>() ? 0.0f : now;
        const float keep = exp2_approximately(most[m][half] - unit);
        most[m][half] = now;
        float added = 0;
#pragma unroll
        for (int n = 0; n < Plan::kOthers / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& score = scores[m][n][half * 2 + e];
            score = exp2_approximately(fmaf(score, scale, -unit));
            added += score;
          }
        }
        total[m][half] = fmaf(total[m][half], keep, added);
#pragma unroll
        for (int n = 0; n < Plan::kDims / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) outputs[m][n][half * 2 + e] *= keep;
        }
      }
    }
  }
};

template <class T, class Plan>
__global__ void __launch_bounds__(Plan::kThreads)
    tensor_forward_kernel(TensorShapes s, TensorRun run, T* out, float* lse, const T* q, const T* k, const T* v) {
  auto& shared = shared_memory<ForwardShared<T, Plan>>();
  const TilePlace place = tile_of_block(s.heads, run.queries, Plan::kRows);
  // Behind a causal mask the last queries see the most keys: they start first.
  const int first = (place.tiles - 1 - place.tile) * Plan::kRows;
  const int64_t at = place.batch * s.q.batch + place.head * s.q.head + run.first_query * s.q.row;
  const int64_t at_k = place.batch * s.k.batch + place.head / s.group * s.k.head + run.first_key * s.k.row;
  const int keys = run.keys_of(smaller(first + Plan::kRows, run.queries) - 1);
  const auto copy_keys = [&](int key) {
    auto& stage = shared.stages[key / Plan::kOthers % 2];
    copy_rows<Plan::kThreads>(stage.k, k + at_k, s.k.row, key, run.keys, s.dims);
    copy_rows<Plan::kThreads>(stage.v, v + at_k, s.k.row, key, run.keys, s.dims);
    close_copies();
  };
  copy_rows<Plan::kThreads>(shared.q, q + at, s.q.row, first, run.queries, s.dims);
  close_copies();
  if (keys > 0) copy_keys(0);
  wait_for_copies<0>();
  __syncthreads();
  const int row = warp_of_block() * Plan::kWarpRows;
  const typename Plan::template Left<T> left(shared.q, row);
  const float scale = s.scale * kLog2E;
  RunningSoftmax<Plan> softmax;
  typename Plan::Outputs sums = {};
  const int keys_of_warp = first + row < run.queries ? run.keys_of(first + row + Plan::kWarpRows - 1) : 0;
  for_key_tiles<Plan::kOthers>(keys, keys_of_warp, copy_keys, [&](int key) {
    auto& stage = shared.stages[key / Plan::kOthers % 2];
    typename Plan::Scores scores = {};
    add_row_products<T>(scores, left, stage.k);
    for_hidden<Plan::kM, Plan::kOthers / 8>(s, run, place.batch, first + row, key,
                                            [&](int m, int n, int i) { scores[m][n][i] = -infinity<float>(); });
    softmax.add(scores, sums, scale);
    add_weighted_rows<T>(sums, scores, stage.v);
  });
#pragma unroll
  for (int m = 0; m < Plan::kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = quad_sum(softmax.total[m][half]);
      // No key: the largest of some adds 1.
      const float factor = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
      for (int n = 0; n < Plan::kDims / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) sums[m][n][half * 2 + e] *= factor;
      }
      const int query = first + row + own_row(m, half);
      if (lane_of_warp() % 4 != 0 || query >= run.queries) continue;
      lse[(int64_t{place.batch} * s.heads + place.head) * s.queries + run.first_query + query] =
          total == 0.0f ? -infinity<float>() : fmaf(softmax.most[m][half], kLn2, logf(total));
    }
  }
  store_sums(out + at, s.q.row, first + row, run.queries, s.dims, sums, shared.q, row);
}

}  // namespace

template <class T>
void tensor_attention(const AttentionShapes& s, const KernelArgs& args, Stream& stream) {
  with_tensor_dims(s.dims, [&]<int kDims>(std::integral_constant<int, kDims>) {
    using Plan = ForwardPlan<kDims>;
    for_each_run(args, 0, 1, [&](const AttentionRun& run) {
      if (run.queries == 0) return;
      launch_tiles(stream, s.batch, s.heads, run.queries, Plan::kRows, Plan::kThreads, sizeof(ForwardShared<T, Plan>),
                   tensor_forward_kernel<T, Plan>, tensor_shapes(s), tensor_run(s, run), args.outputs[0].as<T>(),
                   args.outputs[1].as<float>(), args.inputs[0].as<T>(), args.inputs[1].as<T>(), args.inputs[2].as<T>());
    });
  });
}

template void tensor_attention<__nv_bfloat16>(const AttentionShapes&, const KernelArgs&, Stream&);
template void tensor_attention<__half>(const AttentionShapes&, const KernelArgs&, Stream&);

}  // namespace troupe::cuda
