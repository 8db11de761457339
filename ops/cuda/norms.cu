// Normalisations of rows of the last dim, and their gradients. Those of parameters are sums down the columns.

#include "ops/cuda/columns.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

template <int N, class C, class F>
__device__ __forceinline__ Values<C, N> each_of(F f) {
  Values<C, N> out;
#pragma unroll
  for (int j = 0; j < N; ++j) out.at[j] = f(j);
  return out;
}

// y = (x - mean) rstd scale + shift; without shift: y = x rstd scale, with rstd from the mean square.
template <class T, bool kCentered>
struct Forward {
  T* y;
  T* mean;
  T* rstd;
  const T* x;
  const T* scale;
  const T* shift;
  double eps;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const Group<kSize> group;
    const Row<T, kSize, kHeld> values(x + row * n, n, packs);
    C m = 0;
    if constexpr (kCentered) {
      values.each([&](int64_t, int64_t, const Values<C, N>& v) {
#pragma unroll
        for (int j = 0; j < N; ++j) m += v.at[j];
      });
      m = group.sum(m) / static_cast<C>(n);
    }
    C squares = 0;
    values.each([&](int64_t, int64_t count, const Values<C, N>& v) {
#pragma unroll
      for (int j = 0; j < N; ++j) squares += j < count ? (v.at[j] - m) * (v.at[j] - m) : C(0);
    });
    const C r = C(1) / sqrt(group.sum(squares) / static_cast<C>(n) + static_cast<C>(eps));
    if (group.lane() == 0) {
      if constexpr (kCentered) mean[row] = narrowed<T>(m);
      rstd[row] = narrowed<T>(r);
    }
    values.each([&](int64_t first, int64_t count, const Values<C, N>& v) {
      const Values<C, N> a = load_values<N>(scale + first, count, packs);
      Values<C, N> out;
      if constexpr (kCentered) {
        const Values<C, N> b = load_values<N>(shift + first, count, packs);
        out = each_of<N, C>([&](int j) { return (v.at[j] - m) * r * a.at[j] + b.at[j]; });
      } else {
        out = each_of<N, C>([&](int j) { return v.at[j] * r * a.at[j]; });
      }
      store_values<N>(y + row * n + first, count, packs, out);
    });
  }
};

// With g = dy scale and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)); not centered: without mean(g).
template <class T, bool kCentered>
struct Backward {
  T* dx;
  const T* dy;
  const T* x;
  const T* scale;
  const T* mean;
  const T* rstd;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const Group<kSize> group;
    const C m = kCentered ? widened(mean[row]) : C(0);
    const C r = widened(rstd[row]);
    const Row<T, kSize, kHeld> slopes(dy + row * n, n, packs);
    C sum_g = 0;
    C sum_gh = 0;
    slopes.each([&](int64_t first, int64_t count, const Values<C, N>& d) {
      const Values<C, N> v = load_values<N>(x + row * n + first, count, packs);
      const Values<C, N> a = load_values<N>(scale + first, count, packs);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const C g = d.at[j] * a.at[j];
        sum_g += g;
        sum_gh += g * (v.at[j] - m);
      }
    });
    const C mean_g = kCentered ? group.sum(sum_g) / static_cast<C>(n) : C(0);
    const C slope = group.sum(sum_gh) / static_cast<C>(n) * r * r;
    slopes.each([&](int64_t first, int64_t count, const Values<C, N>& d) {
      const Values<C, N> v = load_values<N>(x + row * n + first, count, packs);
      const Values<C, N> a = load_values<N>(scale + first, count, packs);
      store_values<N>(dx + row * n + first, count, packs,
                      each_of<N, C>([&](int j) { return r * (d.at[j] * a.at[j] - mean_g - (v.at[j] - m) * slope); }));
    });
  }
};

// dscale = the sum of dy h, dshift = that of dy.
template <class T, bool kCentered>
struct ParameterGradients {
  T* dscale;
  T* dshift;
  const T* dy;
  const T* x;
  const T* mean;
  const T* rstd;
  int64_t n;

  using C = Compute<T>;
  __device__ C start() const { return 0; }
  __device__ void add(int64_t row, int64_t column, C* sums) const {
    const C d = widened(dy[row * n + column]);
    const C m = kCentered ? widened(mean[row]) : C(0);
    sums[0] += d * ((widened(x[row * n + column]) - m) * widened(rstd[row]));
    if constexpr (kCentered) sums[1] += d;
  }
  __device__ void store(int64_t column, const C* sums) const {
    dscale[column] = narrowed<T>(sums[0]);
    if constexpr (kCentered) dshift[column] = narrowed<T>(sums[1]);
  }
};

// y = x / max(norm, eps).
template <class T>
struct Normalize {
  T* y;
  T* norm;
  const T* x;
  double eps;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const Group<kSize> group;
    const Row<T, kSize, kHeld> values(x + row * n, n, packs);
    C squares = 0;
    values.each([&](int64_t, int64_t, const Values<C, N>& v) {
#pragma unroll
      for (int j = 0; j < N; ++j) squares += v.at[j] * v.at[j];
    });
    const C length = sqrt(group.sum(squares));
    if (group.lane() == 0) norm[row] = narrowed<T>(length);
    const C factor = C(1) / (length > static_cast<C>(eps) || length != length ? length : static_cast<C>(eps));
    values.each([&](int64_t first, int64_t count, const Values<C, N>& v) {
      store_values<N>(y + row * n + first, count, packs, each_of<N, C>([&](int j) { return v.at[j] * factor; }));
    });
  }
};

// dx = (dy - y sum(y dy)) / norm; dy / eps where norm is below eps.
template <class T>
struct NormalizeGradient {
  T* dx;
  const T* dy;
  const T* y;
  const T* norm;
  double eps;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const Group<kSize> group;
    const Row<T, kSize, kHeld> slopes(dy + row * n, n, packs);
    const C length = widened(norm[row]);
    const bool is_short = length < static_cast<C>(eps);
    C along = 0;
    slopes.each([&](int64_t first, int64_t count, const Values<C, N>& d) {
      const Values<C, N> v = load_values<N>(y + row * n + first, count, packs);
#pragma unroll
      for (int j = 0; j < N; ++j) along += d.at[j] * v.at[j];
    });
    along = group.sum(along);
    if (is_short) along = 0;
    const C factor = C(1) / (is_short ? static_cast<C>(eps) : length);
    slopes.each([&](int64_t first, int64_t count, const Values<C, N>& d) {
      const Values<C, N> v = load_values<N>(y + row * n + first, count, packs);
      store_values<N>(dx + row * n + first, count, packs,
                      each_of<N, C>([&](int j) { return (d.at[j] - v.at[j] * along) * factor; }));
    });
  }
};

// Parameters first: dx may have the memory of dy.
template <class T, bool kCentered>
void gradient(const KernelArgs& args, Stream& stream, T* dshift, const T* mean, const T* rstd) {
  const Shape& shape = args.inputs[1].shape;
  const int64_t rows = row_count(shape);
  const int64_t n = shape.back();
  const T* dy = args.inputs[0].as<T>();
  const T* x = args.inputs[1].as<T>();
  const T* scale = args.inputs[2].as<T>();
  T* dx = args.outputs[0].as<T>();
  for_columns<Compute<T>, kCentered ? 2 : 1>(
      stream, rows, n, ParameterGradients<T, kCentered>{args.outputs[1].as<T>(), dshift, dy, x, mean, rstd, n});
  for_rows<T>(stream, rows, n,
              Backward<T, kCentered>{dx, dy, x, scale, mean, rstd, rows_take_packs<T>(n, dx, dy, x, scale)});
}

}  // namespace

void layer_norm_cuda(const KernelArgs& args, Stream& stream) {
  const Shape& shape = args.inputs[0].shape;
  const int64_t n = shape.back();
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = args.inputs[0].as<T>();
    const T* scale = args.inputs[1].as<T>();
    const T* shift = args.inputs[2].as<T>();
    T* y = args.outputs[0].as<T>();
    for_rows<T>(stream, row_count(shape), n,
                Forward<T, true>{y, args.outputs[1].as<T>(), args.outputs[2].as<T>(), x, scale, shift,
                                 args.attrs->number("eps"), rows_take_packs<T>(n, y, x, scale, shift)});
  });
}

void rms_norm_cuda(const KernelArgs& args, Stream& stream) {
  const Shape& shape = args.inputs[0].shape;
  const int64_t n = shape.back();
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = args.inputs[0].as<T>();
    const T* scale = args.inputs[1].as<T>();
    T* y = args.outputs[0].as<T>();
    for_rows<T>(stream, row_count(shape), n,
                Forward<T, false>{y, nullptr, args.outputs[1].as<T>(), x, scale, nullptr, args.attrs->number("eps"),
                                  rows_take_packs<T>(n, y, x, scale)});
  });
}

void layer_norm_gradient_cuda(const KernelArgs& args, Stream& stream) {
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    gradient<T, true>(args, stream, args.outputs[2].as<T>(), args.inputs[3].as<T>(), args.inputs[4].as<T>());
  });
}

void rms_norm_gradient_cuda(const KernelArgs& args, Stream& stream) {
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    gradient<T, false>(args, stream, nullptr, nullptr, args.inputs[3].as<T>());
  });
}

void normalize_cuda(const KernelArgs& args, Stream& stream) {
  const Shape& shape = args.inputs[0].shape;
  const int64_t n = shape.back();
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = args.inputs[0].as<T>();
    T* y = args.outputs[0].as<T>();
    for_rows<T>(stream, row_count(shape), n,
                Normalize<T>{y, args.outputs[1].as<T>(), x, args.attrs->number("eps"), rows_take_packs<T>(n, y, x)});
  });
}

void normalize_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const Shape& shape = args.inputs[0].shape;
  const int64_t n = shape.back();
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = args.inputs[0].as<T>();
    const T* y = args.inputs[1].as<T>();
    T* dx = args.outputs[0].as<T>();
    for_rows<T>(stream, row_count(shape), n,
                NormalizeGradient<T>{dx, dy, y, args.inputs[2].as<T>(), args.attrs->number("eps"),
                                     rows_take_packs<T>(n, dx, dy, y)});
  });
}

}  // namespace troupe::cuda
