// Two operands that broadcast against each other: arithmetic, comparisons, and the choice between them.

#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/walk.h"

namespace troupe::cuda {
namespace {

struct Add {
  template <class C>
  static __device__ C of(C a, C b) {
    return a + b;
  }
};
struct Sub {
  template <class C>
  static __device__ C of(C a, C b) {
    return a - b;
  }
};
struct Mul {
  template <class C>
  static __device__ C of(C a, C b) {
    return a * b;
  }
};
struct Div {
  template <class C>
  static __device__ C of(C a, C b) {
    return a / b;
  }
};
struct Minimum {
  template <class C>
  static __device__ C of(C a, C b) {
    return smaller(a, b);
  }
};
struct Maximum {
  template <class C>
  static __device__ C of(C a, C b) {
    return larger(a, b);
  }
};
struct Equal {
  template <class C>
  static __device__ uint8_t of(C a, C b) {
    return a == b;
  }
};
struct Less {
  template <class C>
  static __device__ uint8_t of(C a, C b) {
    return a < b;
  }
};

// Neighbours along the last dim; of an operand that repeats there, N times the same.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_along(const T* from, int64_t stride) {
  if (N == 1 || stride != 0) return load_pack<N>(from);
  Pack<T, N> pack;
  const T value = *from;
#pragma unroll
  for (int j = 0; j < N; ++j) pack.at[j] = value;
  return pack;
}

template <int N, class F, class T, class Out>
__device__ __forceinline__ void combine(const Walk<2>& walk, int64_t index, Out* y, const T* a, const T* b) {
  const int last = walk.rank - 1;
  int64_t at[2];
  locate<N>(walk, index, at);
  const Pack<T, N> left = load_along<N>(a + at[0], walk.strides[0][last]);
  const Pack<T, N> right = load_along<N>(b + at[1], walk.strides[1][last]);
  Pack<Out, N> result;
#pragma unroll
  for (int j = 0; j < N; ++j) result.at[j] = narrowed<Out>(F::of(widened(left.at[j]), widened(right.at[j])));
  store_pack<N>(y + index * N, result);
}

// With N > 1 the last dim is a multiple of N, or the only one.
template <int N, class F, class T, class Out>
__global__ void __launch_bounds__(kThreads) pair_kernel(Walk<2> walk, Out* y, const T* a, const T* b) {
  const int64_t packs = walk.n / N;
  for (int64_t p = global_thread(); p < packs; p += global_threads()) combine<N, F>(walk, p, y, a, b);
  for (int64_t i = packs * N + global_thread(); i < walk.n; i += global_threads()) combine<1, F>(walk, i, y, a, b);
}

template <class F, class T, class Out>
void run_pair(const KernelArgs& args, Stream& stream) {
  const TensorView& a = args.inputs[0];
  const TensorView& b = args.inputs[1];
  const TensorView& y = args.outputs[0];
  if (y.elements() == 0) return;
  const Walk<2> walk =
      make_walk<2>(y.shape, {broadcast_strides(a.shape, y.shape), broadcast_strides(b.shape, y.shape)});
  constexpr int N = kPack<T>;
  const bool packs = takes_packs(walk, 0, a.data, sizeof(T), N) && takes_packs(walk, 1, b.data, sizeof(T), N) &&
                     is_aligned(y.data, sizeof(Out) * N) && (walk.rank == 1 || walk.sizes[walk.rank - 1] % N == 0);
  const unsigned blocks = blocks_for(walk.n, kThreads * (packs ? N : 1));
  launch(stream, blocks, kThreads, 0, packs ? pair_kernel<N, F, T, Out> : pair_kernel<1, F, T, Out>, walk,
         static_cast<Out*>(y.data), static_cast<const T*>(a.data), static_cast<const T*>(b.data));
}

template <class F>
void arithmetic(const KernelArgs& args, Stream& stream) {
  with_number(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    run_pair<F, T, T>(args, stream);
  });
}

template <class F>
void comparison(const KernelArgs& args, Stream& stream) {
  with_number(args.inputs[0].dtype, [&](auto zero) { run_pair<F, decltype(zero), uint8_t>(args, stream); });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    where_kernel(Walk<3> walk, T* z, const uint8_t* condition, const T* x, const T* y) {
  for (int64_t i = global_thread(); i < walk.n; i += global_threads()) {
    int64_t at[3];
    locate<1>(walk, i, at);
    const T a = x[at[1]], b = y[at[2]];
    z[i] = condition[at[0]] != 0 ? a : b;
  }
}

}  // namespace

void add_cuda(const KernelArgs& args, Stream& stream) { arithmetic<Add>(args, stream); }
void sub_cuda(const KernelArgs& args, Stream& stream) { arithmetic<Sub>(args, stream); }
void mul_cuda(const KernelArgs& args, Stream& stream) { arithmetic<Mul>(args, stream); }
void div_cuda(const KernelArgs& args, Stream& stream) {
  with_any_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    run_pair<Div, T, T>(args, stream);
  });
}
void minimum_cuda(const KernelArgs& args, Stream& stream) { arithmetic<Minimum>(args, stream); }
void maximum_cuda(const KernelArgs& args, Stream& stream) { arithmetic<Maximum>(args, stream); }
void equal_cuda(const KernelArgs& args, Stream& stream) { comparison<Equal>(args, stream); }
void less_cuda(const KernelArgs& args, Stream& stream) { comparison<Less>(args, stream); }

void where_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& z = args.outputs[0];
  if (z.elements() == 0) return;
  const auto strides = [&](size_t i) { return broadcast_strides(args.inputs[i].shape, z.shape); };
  const Walk<3> walk = make_walk<3>(z.shape, {strides(0), strides(1), strides(2)});
  with_number(z.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(walk.n, kThreads), kThreads, 0, where_kernel<T>, walk, static_cast<T*>(z.data),
           static_cast<const uint8_t*>(args.inputs[0].data), static_cast<const T*>(args.inputs[1].data),
           static_cast<const T*>(args.inputs[2].data));
  });
}

}  // namespace troupe::cuda
