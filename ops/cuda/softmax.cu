// Softmax and its logarithm over the attribute `dim`.

#include "ops/cuda/kernels.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

template <bool kLog, class C>
__device__ __forceinline__ C softmax_of(C x, C most, C sum) {
  if constexpr (kLog) return (x - most) - log(sum);
  return exp(x - most) * (C(1) / sum);
}

template <bool kLog, class C>
__device__ __forceinline__ C slope_of(C dy, C y, C dot) {
  if constexpr (kLog) return dy - exp(y) * dot;
  return y * (dy - dot);
}

// ---- Over the last dim ----

template <bool kLog, class T>
struct Forward {
  T* y;
  const T* x;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const Row<T, kSize, kHeld> values(x + row * n, n, packs);
    const C most = largest_of(values);
    const C sum = exp_sum_of(values, most);
    values.each([&](int64_t first, int64_t count, const Values<C, N>& v) {
      Values<C, N> out;
#pragma unroll
      for (int j = 0; j < N; ++j) out.at[j] = softmax_of<kLog>(v.at[j], most, sum);
      store_values<N>(y + row * n + first, count, packs, out);
    });
  }
};

template <bool kLog, class T>
struct Backward {
  T* dx;
  const T* y;
  const T* dy;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const Group<kSize> group;
    const Row<T, kSize, kHeld> slopes(dy + row * n, n, packs);
    C dot = 0;
    slopes.each([&](int64_t first, int64_t count, const Values<C, N>& d) {
      if constexpr (kLog) {
#pragma unroll
        for (int j = 0; j < N; ++j) dot += d.at[j];
      } else {
        const Values<C, N> v = load_values<N>(y + row * n + first, count, packs);
#pragma unroll
        for (int j = 0; j < N; ++j) dot += d.at[j] * v.at[j];
      }
    });
    dot = group.sum(dot);
    slopes.each([&](int64_t first, int64_t count, const Values<C, N>& d) {
      const Values<C, N> v = load_values<N>(y + row * n + first, count, packs);
      Values<C, N> out;
#pragma unroll
      for (int j = 0; j < N; ++j) out.at[j] = slope_of<kLog>(d.at[j], v.at[j], dot);
      store_values<N>(dx + row * n + first, count, packs, out);
    });
  }
};

// ---- Over another dim, of x as [outer, n, inner]: a thread has a column ----

template <bool kLog, class T>
__global__ void __launch_bounds__(kThreads)
    forward_column_kernel(T* y, const T* x, int64_t outer, int64_t n, int64_t inner) {
  using C = Compute<T>;
  for (int64_t column = global_thread(); column < outer * inner; column += global_threads()) {
    const int64_t begin = column / inner * n * inner + column % inner;
    C most = -infinity<C>();
    for (int64_t i = 0; i < n; ++i) most = larger(most, widened(x[begin + i * inner]));
    C sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += exp(widened(x[begin + i * inner]) - most);
    for (int64_t i = 0; i < n; ++i) {
      y[begin + i * inner] = narrowed<T>(softmax_of<kLog>(widened(x[begin + i * inner]), most, sum));
    }
  }
}

template <bool kLog, class T>
__global__ void __launch_bounds__(kThreads)
    backward_column_kernel(T* dx, const T* y, const T* dy, int64_t outer, int64_t n, int64_t inner) {
  using C = Compute<T>;
  for (int64_t column = global_thread(); column < outer * inner; column += global_threads()) {
    const int64_t begin = column / inner * n * inner + column % inner;
    C dot = 0;
    for (int64_t i = 0; i < n; ++i) {
      const C slope = widened(dy[begin + i * inner]);
      dot += kLog ? slope : slope * widened(y[begin + i * inner]);
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = begin + i * inner;
      dx[at] = narrowed<T>(slope_of<kLog>(widened(dy[at]), widened(y[at]), dot));
    }
  }
}

struct Around {
  int64_t outer = 1, n = 1, inner = 1;
};

Around around_dim(const KernelArgs& args) {
  const Shape& shape = args.inputs[0].shape;
  const int64_t dim = args.attrs->integer("dim");
  Around around;
  for (int d = 0; d < shape.rank(); ++d) (d < dim ? around.outer : d == dim ? around.n : around.inner) *= shape[d];
  return around;
}

template <bool kLog>
void forward(const KernelArgs& args, Stream& stream) {
  const auto [outer, n, inner] = around_dim(args);
  if (outer * n * inner == 0) return;
  with_float(args.outputs[0].dtype, [&, outer = outer, n = n, inner = inner](auto zero) {
    using T = decltype(zero);
    T* y = args.outputs[0].as<T>();
    const T* x = args.inputs[0].as<T>();
    if (inner == 1) return for_rows<T>(stream, outer, n, Forward<kLog, T>{y, x, rows_take_packs<T>(n, y, x)});
    launch(stream, blocks_for(outer * inner, kThreads), kThreads, 0, forward_column_kernel<kLog, T>, y, x, outer, n,
           inner);
  });
}

template <bool kLog>
void backward(const KernelArgs& args, Stream& stream) {
  const auto [outer, n, inner] = around_dim(args);
  if (outer * n * inner == 0) return;
  with_float(args.outputs[0].dtype, [&, outer = outer, n = n, inner = inner](auto zero) {
    using T = decltype(zero);
    T* dx = args.outputs[0].as<T>();
    const T* y = args.inputs[0].as<T>();
    const T* dy = args.inputs[1].as<T>();
    if (inner == 1) {
      return for_rows<T>(stream, outer, n, Backward<kLog, T>{dx, y, dy, rows_take_packs<T>(n, dx, y, dy)});
    }
    launch(stream, blocks_for(outer * inner, kThreads), kThreads, 0, backward_column_kernel<kLog, T>, dx, y, dy, outer,
           n, inner);
  });
}

}  // namespace

void softmax_cuda(const KernelArgs& args, Stream& stream) { forward<false>(args, stream); }
void softmax_gradient_cuda(const KernelArgs& args, Stream& stream) { backward<false>(args, stream); }
void log_softmax_cuda(const KernelArgs& args, Stream& stream) { forward<true>(args, stream); }
void log_softmax_gradient_cuda(const KernelArgs& args, Stream& stream) { backward<true>(args, stream); }

}  // namespace troupe::cuda
