// Pools over the last two dims of x[n,c,h,w]. A thread has an element of a result: a window's, or for gradients one of x,
// which adds up what it takes of its windows in their order.

#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/numbers.h"
#include "ops/cuda/windows.h"

namespace troupe::cuda {
namespace {

// What of a window lies on the plane along one dim: elements begin, begin + step, .. below end. `size` is what the window
// counts in a mean.
struct Span {
  int64_t begin, end, step, size;
};

struct Moving {
  Windows w;
  bool padding_counts;  // in a mean

  __device__ int64_t in() const { return w.in; }
  __device__ int64_t out() const { return w.out; }
  __device__ Span span(int64_t i) const {
    const int64_t first = w.first(i);
    const int64_t reach = first + (w.taps - 1) * w.dilation + 1;
    const int64_t end = reach < w.in ? reach : w.in;
    const int64_t begin = first >= 0 ? first : first + quotient(w.dilation - 1 - first, w.dilation) * w.dilation;
    return {begin, end, w.dilation, padding_counts ? w.taps : end - begin};
  }
  // Windows that may hold element i are from `from` on and below `to`.
  __device__ int64_t from(int64_t i) const {
    const int64_t before = i + w.padding - (w.taps - 1) * w.dilation;
    return before <= 0 ? 0 : quotient(before + w.stride - 1, w.stride);
  }
  __device__ int64_t to(int64_t i) const {
    const int64_t last = quotient(i + w.padding, w.stride);
    return last < w.out ? last + 1 : w.out;
  }
  __device__ bool holds(int64_t window, int64_t i) const { return (i - w.first(window)) % w.dilation == 0; }
};

// Windows that share a plane out.
struct Shared {
  int64_t in_size, out_size;

  __device__ int64_t in() const { return in_size; }
  __device__ int64_t out() const { return out_size; }
  __device__ Span span(int64_t i) const {
    const int64_t begin = quotient(i * in_size, out_size);
    const int64_t end = quotient((i + 1) * in_size + out_size - 1, out_size);
    return {begin, end, 1, end - begin};
  }
  __device__ int64_t from(int64_t i) const { return quotient(i * out_size, in_size); }
  __device__ int64_t to(int64_t i) const { return quotient((i + 1) * out_size + in_size - 1, in_size); }
  __device__ bool holds(int64_t, int64_t) const { return true; }
};

template <class Along>
struct Plane {
  Along rows, columns;
};

template <class Visit>
__device__ __forceinline__ void for_elements(const Span& rows, const Span& columns, int64_t width, Visit visit) {
  for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
    for (int64_t column = columns.begin; column < columns.end; column += columns.step) visit(row * width + column);
  }
}

// The place of the first largest element, or of the first NaN, in a plane.
template <class T>
__device__ __forceinline__ int64_t largest(const T* x, const Span& rows, const Span& columns, int64_t width) {
  int64_t at = rows.begin * width + columns.begin;
  Compute<T> best = widened(x[at]);
  for_elements(rows, columns, width, [&](int64_t i) {
    const Compute<T> value = widened(x[i]);
    if (value > best || (value != value && best == best)) {
      best = value;
      at = i;
    }
  });
  return at;
}

template <class T>
struct Max {
  const T* x;

  __device__ Compute<T> of(int64_t plane, const Span& rows, const Span& columns, int64_t width) const {
    return widened(x[plane + largest(x + plane, rows, columns, width)]);
  }
};

template <class T>
struct Mean {
  const T* x;

  __device__ Compute<T> of(int64_t plane, const Span& rows, const Span& columns, int64_t width) const {
    Compute<T> sum = 0;
    for_elements(rows, columns, width, [&](int64_t i) { sum += widened(x[plane + i]); });
    return sum / static_cast<Compute<T>>(rows.size * columns.size);
  }
};

template <class T>
struct MaxGradient {
  const T* dy;
  const T* x;

  // What element i of the plane takes of a window.
  __device__ Compute<T> share(int64_t window, int64_t plane, int64_t i, const Span& rows, const Span& columns,
                              int64_t width) const {
    return largest(x + plane, rows, columns, width) == i ? widened(dy[window]) : Compute<T>(0);
  }
};

template <class T>
struct MeanGradient {
  const T* dy;

  __device__ Compute<T> share(int64_t window, int64_t, int64_t, const Span& rows, const Span& columns, int64_t) const {
    return widened(dy[window]) / static_cast<Compute<T>>(rows.size * columns.size);
  }
};

template <class T, class Along, class Op>
__global__ void __launch_bounds__(kThreads) pool_kernel(T* y, Op op, Plane<Along> p, int64_t elements) {
  const int64_t in = p.rows.in() * p.columns.in();
  for (int64_t i = global_thread(); i < elements; i += global_threads()) {
    const int64_t line = quotient(i, p.columns.out());
    const int64_t plane = quotient(line, p.rows.out());
    const Span rows = p.rows.span(line - plane * p.rows.out());
    const Span columns = p.columns.span(i - line * p.columns.out());
    y[i] = narrowed<T>(op.of(plane * in, rows, columns, p.columns.in()));
  }
}

template <class T, class Along, class Op>
__global__ void __launch_bounds__(kThreads) pool_gradient_kernel(T* dx, Op op, Plane<Along> p, int64_t elements) {
  const int64_t in = p.rows.in() * p.columns.in();
  for (int64_t i = global_thread(); i < elements; i += global_threads()) {
    const int64_t line = quotient(i, p.columns.in());
    const int64_t plane = quotient(line, p.rows.in());
    const int64_t row = line - plane * p.rows.in();
    const int64_t column = i - line * p.columns.in();
    Compute<T> sum = 0;
    for (int64_t r = p.rows.from(row); r < p.rows.to(row); ++r) {
      if (!p.rows.holds(r, row)) continue;
      for (int64_t c = p.columns.from(column); c < p.columns.to(column); ++c) {
        if (!p.columns.holds(c, column)) continue;
        const int64_t window = (plane * p.rows.out() + r) * p.columns.out() + c;
        sum += op.share(window, plane * in, i - plane * in, p.rows.span(r), p.columns.span(c), p.columns.in());
      }
    }
    dx[i] = narrowed<T>(sum);
  }
}

Plane<Moving> moving(const KernelArgs& args, const TensorView& x, const TensorView& y) {
  const Attrs& attrs = *args.attrs;
  const bool padding_counts = attrs.integer("count_padding", 1) != 0;
  const auto along = [&](int d) {
    const int64_t taps = attrs.integers("kernel")[static_cast<size_t>(d)];
    return Moving{windows_along(d, attrs, x.shape, y.shape, taps), padding_counts};
  };
  return {along(0), along(1)};
}

Plane<Shared> shared(const TensorView& x, const TensorView& y) {
  return {{x.shape[2], y.shape[2]}, {x.shape[3], y.shape[3]}};
}

template <template <class> class Op, class Along>
void pool(const KernelArgs& args, Stream& stream, const Plane<Along>& p) {
  const TensorView& y = args.outputs[0];
  if (y.elements() == 0) return;
  with_any_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(y.elements(), kThreads), kThreads, 0, pool_kernel<T, Along, Op<T>>, y.as<T>(),
           Op<T>{args.inputs[0].as<T>()}, p, y.elements());
  });
}

template <class T, class Along, class Op>
void pool_gradient(const TensorView& dx, Stream& stream, Op op, const Plane<Along>& p) {
  launch(stream, blocks_for(dx.elements(), kThreads), kThreads, 0, pool_gradient_kernel<T, Along, Op>, dx.as<T>(), op,
         p, dx.elements());
}

template <class Along>
void mean_gradient(const KernelArgs& args, Stream& stream, const Plane<Along>& p) {
  const TensorView& dx = args.outputs[0];
  if (dx.elements() == 0) return;
  with_any_float(dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    pool_gradient<T>(dx, stream, MeanGradient<T>{args.inputs[0].as<T>()}, p);
  });
}

}  // namespace

void max_pool2d_cuda(const KernelArgs& args, Stream& stream) {
  pool<Max>(args, stream, moving(args, args.inputs[0], args.outputs[0]));
}

void max_pool2d_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView &dy = args.inputs[0], &x = args.inputs[1], &dx = args.outputs[0];
  if (dx.elements() == 0) return;
  with_any_float(dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    pool_gradient<T>(dx, stream, MaxGradient<T>{dy.as<T>(), x.as<T>()}, moving(args, x, dy));
  });
}

void avg_pool2d_cuda(const KernelArgs& args, Stream& stream) {
  pool<Mean>(args, stream, moving(args, args.inputs[0], args.outputs[0]));
}

void avg_pool2d_gradient_cuda(const KernelArgs& args, Stream& stream) {
  mean_gradient(args, stream, moving(args, args.outputs[0], args.inputs[0]));
}

void adaptive_avg_pool2d_cuda(const KernelArgs& args, Stream& stream) {
  pool<Mean>(args, stream, shared(args.inputs[0], args.outputs[0]));
}

void adaptive_avg_pool2d_gradient_cuda(const KernelArgs& args, Stream& stream) {
  mean_gradient(args, stream, shared(args.outputs[0], args.inputs[0]));
}

}  // namespace troupe::cuda
