// out = softmax(scale q k^T) v per batch and head.

#include "ops/cuda/attention_tiles.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/tensor_attention.h"

namespace troupe::cuda {
namespace {

template <int kDims, class T>
__global__ void __launch_bounds__(kSide* kSide)
    forward_kernel(AttentionShapes s, AttentionRun run, T* out, Compute<T>* lse, const T* q, const T* k, const T* v) {
  using C = Compute<T>;
  ForwardShared<C, kDims>& shared = shared_memory<ForwardShared<C, kDims>>();
  for_tiles<kDims, T>(s, s.heads, run.queries, [&](int64_t batch, int64_t head, int64_t first) {
    const int64_t rows = least(run.queries - first, kTile<C>);
    const int64_t at = batch * s.q.batch + head * s.q.head + (run.first_query + first) * s.q.row;
    const int64_t at_k = batch * s.k.batch + head / s.group() * s.k.head + run.first_key * s.k.row;
    const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + batch * s.keys;
    C most[kOwn<C>];
    C total[kOwn<C>] = {};
    RowSums<C, kDims> sums = {};
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) most[i] = -infinity<C>();
    const int64_t keys = keys_below(s, run, first + rows);
    for (int64_t key = 0; key < keys; key += kTile<C>) {
      const int64_t columns = least(keys - key, kTile<C>);
      Tile<C> scores;
      products<C, kDims>(scores, shared, q + at, s.q.row, rows, k + at_k + key * s.k.row, s.k.row, columns, s.dims);
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        C now = -infinity<C>();
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) {
          const bool seen = sees(s, run, mask, first + threadIdx.y + i * kSide, key + threadIdx.x + j * kSide);
          scores[i][j] = seen ? scores[i][j] * static_cast<C>(s.scale) : -infinity<C>();
          now = larger(now, scores[i][j]);
        }
        now = larger(most[i], row_max(now));
        const bool nothing = now == -infinity<C>();
        const C keep = nothing ? C(1) : exp(most[i] - now);
        C added = 0;
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) {
          scores[i][j] = nothing ? C(0) : exp(scores[i][j] - now);
          added += scores[i][j];
        }
        total[i] = total[i] * keep + row_sum(added);
        most[i] = now;
#pragma unroll
        for (int d = 0; d < kDims; ++d) sums[i][d] *= keep;
      }
      write_weights<C>(shared.weights, scores);
      add_products<C, kDims>(sums, shared, shared.weights, v + at_k + key * s.k.row, s.k.row, columns, s.dims);
    }
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) {
      const int64_t row = threadIdx.y + i * kSide;
      if (row >= rows) continue;
      // No key: the largest of some adds 1.
      const C factor = total[i] == C(0) ? C(0) : C(1) / total[i];
      if (threadIdx.x == 0) {
        lse[(batch * s.heads + head) * s.queries + run.first_query + first + row] =
            total[i] == C(0) ? -infinity<C>() : most[i] + log(total[i]);
      }
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
        const int64_t dim = threadIdx.x + d * kSide;
        if (dim < s.dims) out[at + row * s.q.row + dim] = narrowed<T>(sums[i][d] * factor);
      }
    }
  });
}

}  // namespace

void attention_cuda(const KernelArgs& args, Stream& stream) {
  const AttentionShapes s = attention_shapes(args, 0, 1, 3);
  if (s.batch * s.heads * s.queries == 0) return;
  with_any_float(args.inputs[0].dtype, [&](auto zero) {
    using Stored = decltype(zero);
    if constexpr (kIsLow<Stored>) {
      if (takes_tensor_cores<Stored>(s, args)) return tensor_attention<Stored>(s, args, stream);
    }
    with_dims(args, s.dims, [&]<int kDims>(std::integral_constant<int, kDims>) {
      using T = decltype(zero);
      using C = Compute<T>;
      for_each_run(args, 0, 1, [&](const AttentionRun& run) {
        if (run.queries == 0) return;
        launch(stream, blocks_of<T>(s, s.heads, run.queries), {kSide, kSide}, sizeof(ForwardShared<C, kDims>),
               forward_kernel<kDims, T>, s, run, args.outputs[0].as<T>(), args.outputs[1].as<C>(),
               args.inputs[0].as<T>(), args.inputs[1].as<T>(), args.inputs[2].as<T>());
      });
    });
  });
}

}  // namespace troupe::cuda
