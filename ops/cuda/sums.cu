// Sums of whole tensors, in the order of the operands: over the uses of a value and over the pieces of a step.

#include <string>

#include "ops/accumulate.h"
#include "ops/cuda/copy.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/map.h"

namespace troupe::cuda {
namespace {

// As many as fit into a kernel's parameters with room to spare.
constexpr size_t kMostTerms = 256;

template <class T>
struct Terms {
  int count;
  const T* at[kMostTerms];
};

// ((x0 + x1) + x2) + .., rounded once. y may be x0.
template <class T>
__global__ void __launch_bounds__(kThreads) add_terms_kernel(Terms<T> terms, T* y, int64_t n, bool in_packs) {
  using C = Compute<T>;
  constexpr int N = kPack<T>;
  const int64_t packs = in_packs ? n / N : 0;
  for (int64_t p = global_thread(); p < packs; p += global_threads()) {
    C sum[N] = {};
    for (int k = 0; k < terms.count; ++k) {
      const Pack<T, N> term = load_pack<N>(terms.at[k] + p * N);
#pragma unroll
      for (int j = 0; j < N; ++j) sum[j] = k == 0 ? widened(term.at[j]) : sum[j] + widened(term.at[j]);
    }
    Pack<T, N> result;
#pragma unroll
    for (int j = 0; j < N; ++j) result.at[j] = narrowed<T>(sum[j]);
    store_pack<N>(y + p * N, result);
  }
  for (int64_t i = packs * N + global_thread(); i < n; i += global_threads()) {
    C sum = widened(terms.at[0][i]);
    for (int k = 1; k < terms.count; ++k) sum += widened(terms.at[k][i]);
    y[i] = narrowed<T>(sum);
  }
}

template <class T>
void add_terms(const Terms<T>& terms, T* y, int64_t n, Stream& stream) {
  if (n == 0) return;
  bool packs = is_aligned(y, kPackBytes);
  for (int k = 0; k < terms.count; ++k) packs = packs && is_aligned(terms.at[k], kPackBytes);
  launch(stream, blocks_for(n, kThreads * kPack<T>), kThreads, 0, add_terms_kernel<T>, terms, y, n, packs);
}

template <class T>
void add_in_place(T* accumulator, const T* x, int64_t n, Stream& stream) {
  Terms<T> terms = {};
  terms.count = 2;
  terms.at[0] = accumulator;
  terms.at[1] = x;
  add_terms(terms, accumulator, n, stream);
}

}  // namespace

void add_n_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& y = args.outputs[0];
  if (args.inputs.size() > kMostTerms) {
    *args.failure = std::to_string(args.inputs.size()) +
                    " terms are to be added, but kernels on CUDA devices take at most " + std::to_string(kMostTerms);
    return;
  }
  with_number(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    Terms<T> terms = {};
    for (const TensorView& x : args.inputs) terms.at[terms.count++] = x.as<T>();
    add_terms(terms, y.as<T>(), y.elements(), stream);
  });
}

// The stack of accumulators of ops/accumulate.cpp: which of them a firing adds to follows from the round alone.
void accumulate_cuda(const KernelArgs& args, Stream& stream) {
  const Attrs& attrs = *args.attrs;
  const int64_t pieces = attrs.integer("pieces_per_shard");
  const int64_t first = attrs.integer("first_shard");
  const int64_t total = attrs.integer("total_shards");
  const int64_t leaf = args.firing.round / pieces;
  const int64_t piece = args.firing.round % pieces;
  if (leaf >= attrs.integer("shards")) return;

  const int64_t below = final_node_count(first, leaf, total);
  int64_t merges = below + 1 - final_node_count(first, leaf + 1, total);
  const TensorView& x = args.inputs[0];
  const int64_t n = args.outputs[0].elements();
  with_number(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* stack = args.outputs[0].as<T>();
    int64_t top = below;
    if (pieces == 1 && merges > 0) {  // the leaf goes straight into its sibling
      add_in_place(stack + --top * n, x.as<T>(), n, stream);
      --merges;
    } else if (piece == 0) {
      copy_strided(stack + top * n, {1}, x.data, {1}, {n}, size_of(x.dtype), stream);
    } else {
      add_in_place(stack + top * n, x.as<T>(), n, stream);
    }
    if (piece != pieces - 1) return;
    for (; merges > 0; --merges, --top) add_in_place(stack + (top - 1) * n, stack + top * n, n, stream);
  });
}

}  // namespace troupe::cuda
