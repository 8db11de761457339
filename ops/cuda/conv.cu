// Convolutions of x[n,c,h,w] with w[out,c/groups,kh,kw] and their gradients, as matrix products one operand of which is never
// written down: a tile of it is gathered from planes. Every sum goes over its terms in one order, which neither the number of
// samples nor that of channels beside it changes.

#include <utility>

#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/numbers.h"
#include "ops/cuda/tiles.h"
#include "ops/cuda/windows.h"

namespace troupe::cuda {
namespace {

constexpr int kOwn = 2;
constexpr int kTile = kSize<kOwn>;
constexpr int kBlock = kSide * kSide;

struct Conv {
  int64_t batch, groups, in, out;  // channels of one group
  Windows rows, columns;

  __device__ int64_t taps() const { return rows.taps * columns.taps; }
  __device__ int64_t in_plane() const { return rows.in * columns.in; }
  __device__ int64_t out_plane() const { return rows.out * columns.out; }
};

// An element of a plane of each sample: the place of the sample, and the element's.
struct Element {
  int64_t sample, row, column;
};

__device__ __forceinline__ Element element_of(int64_t i, int64_t height, int64_t width) {
  const int64_t line = quotient(i, width);
  const int64_t sample = quotient(line, height);
  return {sample, line - sample * height, i - line * width};
}

// A tap of the kernels of one channel, in elements of a plane from its window's first.
struct Tap {
  int64_t channel, row, column;
};

__device__ __forceinline__ Tap tap_of(const Conv& c, int64_t i) {
  const Element tap = element_of(i, c.rows.taps, c.columns.taps);
  return {tap.sample, tap.row * c.rows.dilation, tap.column * c.columns.dilation};
}

// x under a tap of a window: 0 in the padding. Windows and taps are numbered over all samples and channels.
template <class T>
struct Inputs {
  const T* x;
  Conv c;
  int64_t group;

  __device__ Element window(int64_t i) const {
    const Element at = element_of(i, c.rows.out, c.columns.out);
    return {(at.sample * c.groups + group) * c.in * c.in_plane(), c.rows.first(at.row), c.columns.first(at.column)};
  }
  __device__ Tap tap(int64_t i) const {
    const Tap at = tap_of(c, i);
    return {at.channel * c.in_plane(), at.row, at.column};
  }
  __device__ Compute<T> value(const Element& window, const Tap& tap) const {
    const int64_t row = window.row + tap.row;
    const int64_t column = window.column + tap.column;
    if (row < 0 || row >= c.rows.in || column < 0 || column >= c.columns.in) return 0;
    return widened(x[window.sample + tap.channel + row * c.columns.in + column]);
  }
};

// dy of the window that has an element of x under a tap: 0 where none has.
template <class T>
struct Gradients {
  const T* dy;
  Conv c;
  int64_t group;

  __device__ Element element(int64_t i) const {
    const Element at = element_of(i, c.rows.in, c.columns.in);
    return {(at.sample * c.groups + group) * c.out * c.out_plane(), at.row + c.rows.padding,
            at.column + c.columns.padding};
  }
  __device__ Tap tap(int64_t i) const {
    const Tap at = tap_of(c, i);
    return {at.channel * c.out_plane(), at.row, at.column};
  }
  __device__ Compute<T> value(const Element& element, const Tap& tap) const {
    const int64_t down = element.row - tap.row;
    const int64_t across = element.column - tap.column;
    if (down < 0 || across < 0) return 0;
    const int64_t row = quotient(down, c.rows.stride);
    const int64_t column = quotient(across, c.columns.stride);
    if (row * c.rows.stride != down || column * c.columns.stride != across) return 0;
    if (row >= c.rows.out || column >= c.columns.out) return 0;
    return widened(dy[element.sample + tap.channel + row * c.columns.out + column]);
  }
};

// ---- The three products. Each says for a group how large it is, m x n with a sum over k, and what its operands are: `outer`
// finds a row of a or column of b, `inner` a k, `value` the number of both. kAlong: neighbours along k are neighbours in
// memory. ----

// y[out; sample, window] = w[out; channel, tap] x[channel, tap; sample, window] + bias[out]
template <class T>
struct Forward {
  using Out = T;
  Conv c;
  T* y;
  const T* x;
  const T* w;
  const T* bias;  // null: none

  __device__ int64_t m() const { return c.out; }
  __device__ int64_t n() const { return c.batch * c.out_plane(); }
  __device__ int64_t k() const { return c.in * c.taps(); }

  struct A {
    static constexpr bool kAlong = true;
    const T* w;
    int64_t first, row;
    __device__ int64_t outer(int64_t m) const { return (first + m) * row; }
    __device__ int64_t inner(int64_t k) const { return k; }
    __device__ Compute<T> value(int64_t outer, int64_t inner) const { return widened(w[outer + inner]); }
  };
  struct B : Inputs<T> {
    static constexpr bool kAlong = false;
    __device__ Element outer(int64_t n) const { return this->window(n); }
    __device__ Tap inner(int64_t k) const { return this->tap(k); }
  };
  __device__ A a(int64_t group) const { return {w, group * c.out, k()}; }
  __device__ B b(int64_t group) const { return {{x, c, group}}; }
  __device__ void store(int64_t group, int64_t m, int64_t n, Compute<T> sum) const {
    const int64_t channel = group * c.out + m;
    const int64_t sample = quotient(n, c.out_plane());
    const int64_t at = (sample * c.groups * c.out + channel) * c.out_plane() + n - sample * c.out_plane();
    y[at] = narrowed<T>(bias == nullptr ? sum : sum + widened(bias[channel]));
  }
};

// dx[channel; sample, element] = w[channel; out, tap] dy[out, tap; sample, element]
template <class T>
struct InputGradient {
  using Out = T;
  Conv c;
  T* dx;
  const T* dy;
  const T* w;

  __device__ int64_t m() const { return c.in; }
  __device__ int64_t n() const { return c.batch * c.in_plane(); }
  __device__ int64_t k() const { return c.out * c.taps(); }

  struct A {
    static constexpr bool kAlong = true;
    const T* w;
    Conv c;
    int64_t group;
    __device__ int64_t outer(int64_t m) const { return m * c.taps(); }
    __device__ int64_t inner(int64_t k) const {
      const int64_t out = quotient(k, c.taps());
      return (group * c.out + out) * c.in * c.taps() + k - out * c.taps();
    }
    __device__ Compute<T> value(int64_t outer, int64_t inner) const { return widened(w[outer + inner]); }
  };
  struct B : Gradients<T> {
    static constexpr bool kAlong = false;
    __device__ Element outer(int64_t n) const { return this->element(n); }
    __device__ Tap inner(int64_t k) const { return this->tap(k); }
  };
  __device__ A a(int64_t group) const { return {w, c, group}; }
  __device__ B b(int64_t group) const { return {{dy, c, group}}; }
  __device__ void store(int64_t group, int64_t m, int64_t n, Compute<T> sum) const {
    const int64_t sample = quotient(n, c.in_plane());
    const int64_t plane = (sample * c.groups + group) * c.in + m;
    dx[plane * c.in_plane() + n - sample * c.in_plane()] = narrowed<T>(sum);
  }
};

// dw[out; channel, tap] = dy[out; sample, window] x[sample, window; channel, tap]
template <class T>
struct WeightGradient {
  using Out = Compute<T>;
  Conv c;
  Out* dw;
  const T* x;
  const T* dy;

  __device__ int64_t m() const { return c.out; }
  __device__ int64_t n() const { return c.in * c.taps(); }
  __device__ int64_t k() const { return c.batch * c.out_plane(); }

  struct A {
    static constexpr bool kAlong = true;
    const T* dy;
    Conv c;
    int64_t group;
    __device__ int64_t outer(int64_t m) const { return (group * c.out + m) * c.out_plane(); }
    __device__ int64_t inner(int64_t k) const {
      const int64_t sample = quotient(k, c.out_plane());
      return (sample * (c.groups * c.out - 1)) * c.out_plane() + k;
    }
    __device__ Compute<T> value(int64_t outer, int64_t inner) const { return widened(dy[outer + inner]); }
  };
  struct B : Inputs<T> {
    static constexpr bool kAlong = true;
    __device__ Tap outer(int64_t n) const { return this->tap(n); }
    __device__ Element inner(int64_t k) const { return this->window(k); }
    __device__ Compute<T> value(const Tap& outer, const Element& inner) const { return Inputs<T>::value(inner, outer); }
  };
  __device__ A a(int64_t group) const { return {dy, c, group}; }
  __device__ B b(int64_t group) const { return {{x, c, group}}; }
  __device__ void store(int64_t group, int64_t m, int64_t n_at, Compute<T> sum) const {
    dw[(group * c.out + m) * n() + n_at] = sum;
  }
};

// ---- Their kernel ----

// A thread's share of the tiles of one operand: it always has the same rows of a or columns of b, which are found once.
template <class C, class Operand>
class Loader {
 public:
  __device__ Loader(const Operand& operand, int64_t first, int64_t outer) : operand_(operand) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      is_there_[i] = first + outer_at(i) < outer;
      outer_[i] = operand.outer(first + outer_at(i));
    }
  }

  __device__ void load(Tile<C, kOwn>& tile, int64_t first_k, int64_t inner) const {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int64_t k = first_k + inner_at(i);
      tile[inner_at(i)][outer_at(i)] = is_there_[i] && k < inner ? operand_.value(outer_[i], operand_.inner(k)) : C(0);
    }
  }

 private:
  static __device__ int thread() { return static_cast<int>(threadIdx.y * kSide + threadIdx.x); }
  static __device__ int outer_at(int i) {
    return Operand::kAlong ? thread() / kInner + i * (kBlock / kInner) : thread() % kTile;
  }
  static __device__ int inner_at(int i) {
    return Operand::kAlong ? thread() % kInner : thread() / kTile + i * (kBlock / kTile);
  }

  Operand operand_;
  bool is_there_[kOwn];
  decltype(std::declval<Operand>().outer(0)) outer_[kOwn];
};
static_assert(kInner * kTile == kOwn * kBlock);

template <class T, class Product>
__global__ void __launch_bounds__(kBlock) conv_kernel(const __grid_constant__ Product p) {
  using C = Compute<T>;
  Tiles<C, kOwn>& tiles = shared_memory<Tiles<C, kOwn>>();
  const int64_t m = p.m();
  const int64_t n = p.n();
  const int64_t k = p.k();
  const int64_t row_tiles = (m + kTile - 1) / kTile;
  const int64_t column_tiles = (n + kTile - 1) / kTile;
  for (int64_t t = blockIdx.x; t < p.c.groups * row_tiles * column_tiles; t += gridDim.x) {
    const int64_t group = t / (row_tiles * column_tiles);
    const int64_t first_row = t / column_tiles % row_tiles * kTile;
    const int64_t first_column = t % column_tiles * kTile;
    const Loader<C, typename Product::A> a(p.a(group), first_row, m);
    const Loader<C, typename Product::B> b(p.b(group), first_column, n);
    C sums[kOwn][kOwn] = {};
    for (int64_t first_k = 0; first_k < k; first_k += kInner) {
      a.load(tiles.a, first_k, k);
      b.load(tiles.b, first_k, k);
      __syncthreads();
      multiply_tiles<C, kOwn>(tiles, sums);
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int64_t row = first_row + threadIdx.y + i * kSide;
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        const int64_t column = first_column + threadIdx.x + j * kSide;
        if (row < m && column < n) p.store(group, row, column, sums[i][j]);
      }
    }
  }
}

template <class T, class Product>
void run(const Product& p, const TensorView& result, Stream& stream) {
  if (result.elements() == 0) return;
  const int64_t tiles = p.c.groups * ((p.m() + kTile - 1) / kTile) * ((p.n() + kTile - 1) / kTile);
  launch(stream, blocks_for(tiles, 1), {kSide, kSide}, sizeof(Tiles<Compute<T>, kOwn>), conv_kernel<T, Product>, p);
}

// `in`: the channels of a group, w's second dim.
Conv conv_of(const Attrs& attrs, const Shape& x, int64_t in, int64_t kernel_rows, int64_t kernel_columns,
             const Shape& y) {
  const int64_t groups = in == 0 || x[1] < in ? 1 : x[1] / in;
  return {x[0],
          groups,
          in,
          y[1] / groups,
          windows_along(0, attrs, x, y, kernel_rows),
          windows_along(1, attrs, x, y, kernel_columns)};
}

}  // namespace

void conv2d_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView &x = args.inputs[0], &w = args.inputs[1], &y = args.outputs[0];
  const Conv c = conv_of(*args.attrs, x.shape, w.shape[1], w.shape[2], w.shape[3], y.shape);
  with_any_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* bias = args.inputs.size() > 2 ? args.inputs[2].as<T>() : nullptr;
    run<T>(Forward<T>{c, y.as<T>(), x.as<T>(), w.as<T>(), bias}, y, stream);
  });
}

void conv2d_input_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView &dy = args.inputs[0], &w = args.inputs[1], &dx = args.outputs[0];
  const Conv c = conv_of(*args.attrs, dx.shape, w.shape[1], w.shape[2], w.shape[3], dy.shape);
  with_any_float(dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(InputGradient<T>{c, dx.as<T>(), dy.as<T>(), w.as<T>()}, dx, stream);
  });
}

void conv2d_weight_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView &x = args.inputs[0], &dy = args.inputs[1], &dw = args.outputs[0];
  const Conv c = conv_of(*args.attrs, x.shape, dw.shape[1], dw.shape[2], dw.shape[3], dy.shape);
  with_any_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(WeightGradient<T>{c, dw.as<Compute<T>>(), x.as<T>(), dy.as<T>()}, dw, stream);
  });
}

}  // namespace troupe::cuda
