// Reductions over dims. Where the last dim is reduced, a warp or a block has an output and its lanes walk along; elsewhere
// lanes have neighbouring outputs (columns.h).

#include <algorithm>

#include "ops/cuda/columns.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/rows.h"
#include "ops/cuda/walk.h"

namespace troupe::cuda {
namespace {

struct Sum : AddSums {
  template <class C>
  static __device__ C start() {
    return C(0);
  }
  template <class C>
  static __device__ C of(C x) {
    return x;
  }
  template <int kSize, class C>
  static __device__ C of_group(C x) {
    return Group<kSize>().sum(x);
  }
};
struct SumOfSquares : Sum {
  template <class C>
  static __device__ C of(C x) {
    return x * x;
  }
};
struct Max {
  template <class C>
  static __device__ C start() {
    return -infinity<C>();
  }
  template <class C>
  static __device__ C of(C x) {
    return x;
  }
  template <class C>
  static __device__ C join(C a, C b) {
    return larger(a, b);
  }
  template <int kSize, class C>
  static __device__ C of_group(C x) {
    return Group<kSize>().max(x);
  }
};
struct Min {
  template <class C>
  static __device__ C start() {
    return infinity<C>();
  }
  template <class C>
  static __device__ C of(C x) {
    return x;
  }
  template <class C>
  static __device__ C join(C a, C b) {
    return smaller(a, b);
  }
  template <int kSize, class C>
  static __device__ C of_group(C x) {
    return Group<kSize>().min(x);
  }
};

// The elements of an output are those at kept + reduced, over all places of `reduced`.
template <class T, class Out>
struct Operands {
  Walk<1> kept;
  Walk<1> reduced;
  Out* y;
  const T* x;
  Compute<Out> divisor;

  __device__ int64_t place(const Walk<1>& walk, int64_t index) const {
    int64_t at[1];
    locate<1>(walk, index, at);
    return at[0];
  }
};

template <int kSize, int kBlock, class Op, class T, class Out>
__global__ void __launch_bounds__(kBlock) along_kernel(Operands<T, Out> o) {
  using C = Compute<T>;
  constexpr int kGroups = kBlock / kSize;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * kGroups + static_cast<int>(threadIdx.x) / kSize;
  for (int64_t i = group; i < o.kept.n; i += static_cast<int64_t>(gridDim.x) * kGroups) {
    const T* from = o.x + o.place(o.kept, i);
    C total = Op::template start<C>();
    for (int64_t r = static_cast<int>(threadIdx.x) % kSize; r < o.reduced.n; r += kSize) {
      total = Op::join(total, Op::of(widened(from[o.place(o.reduced, r)])));
    }
    total = Op::template of_group<kSize>(total);
    if (threadIdx.x % kSize == 0) o.y[i] = narrowed<Out>(total / o.divisor);
  }
}

template <class Op, class T, class Out>
struct Across {
  using C = Compute<T>;
  Operands<T, Out> o;
  __device__ C start() const { return Op::template start<C>(); }
  __device__ void add(int64_t row, int64_t column, C* total) const {
    total[0] = Op::join(total[0], Op::of(widened(o.x[o.place(o.kept, column) + o.place(o.reduced, row)])));
  }
  __device__ void store(int64_t column, const C* total) const { o.y[column] = narrowed<Out>(total[0] / o.divisor); }
};

constexpr int kWideBlock = 1024;

template <class Op, class T, class Out>
void run(const Operands<T, Out>& o, bool along, Stream& stream) {
  const int64_t n = o.reduced.n;
  if (o.kept.n == 0) return;
  if (!along) return for_columns<Compute<T>, 1, Op>(stream, n, o.kept.n, Across<Op, T, Out>{o});
  if (n <= kWarpSize * kHeldElements) {
    launch(stream, blocks_for(o.kept.n, kThreads / kWarpSize), kThreads, 0,
           along_kernel<kWarpSize, kThreads, Op, T, Out>, o);
  } else {
    launch(stream, blocks_for(o.kept.n, 1), kWideBlock, kWideBlock / kWarpSize * sizeof(double),
           along_kernel<kWideBlock, kWideBlock, Op, T, Out>, o);
  }
}

// y = the reduction of x over the dims for which is_reduced, over `divisor`.
template <class Op, class T, class Out, class IsReduced>
void reduce(const TensorView& y, const TensorView& x, double divisor, IsReduced is_reduced, Stream& stream) {
  const Dims strides = strides_of(x.shape);
  Shape shapes[2];
  Dims steps[2];
  bool along = true;
  for (int d = 0; d < x.shape.rank(); ++d) {
    if (x.shape[d] == 1) continue;
    const int which = is_reduced(d) ? 1 : 0;
    shapes[which].push_back(x.shape[d]);
    steps[which].push_back(strides[d]);
    along = which == 1;
  }
  run<Op>(Operands<T, Out>{make_walk<1>(shapes[0], {steps[0]}), make_walk<1>(shapes[1], {steps[1]}), y.as<Out>(),
                           x.as<T>(), static_cast<Compute<Out>>(divisor)},
          along, stream);
}

template <class Op, class IsReduced>
void reduce_floats(const KernelArgs& args, Stream& stream, double divisor, IsReduced is_reduced) {
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    reduce<Op, T, T>(args.outputs[0], args.inputs[0], divisor, is_reduced, stream);
  });
}

auto by_dims(const KernelArgs& args) {
  return [&dims = args.attrs->integers("dims")](int d) { return std::find(dims.begin(), dims.end(), d) != dims.end(); };
}

}  // namespace

void reduce_sum_cuda(const KernelArgs& args, Stream& stream) { reduce_floats<Sum>(args, stream, 1, by_dims(args)); }
void reduce_max_cuda(const KernelArgs& args, Stream& stream) { reduce_floats<Max>(args, stream, 1, by_dims(args)); }
void reduce_min_cuda(const KernelArgs& args, Stream& stream) { reduce_floats<Min>(args, stream, 1, by_dims(args)); }

// Divides by the number of elements of the whole, so that the parts of a split dim add up to the mean.
void reduce_mean_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const auto is_reduced = by_dims(args);
  double count = 1;
  for (int d = 0; d < x.shape.rank(); ++d) count *= is_reduced(d) ? static_cast<double>(x.logical[d]) : 1;
  reduce_floats<Sum>(args, stream, count, is_reduced);
}

void mean_squares_cuda(const KernelArgs& args, Stream& stream) {
  const int dim = static_cast<int>(args.attrs->integer("dim"));
  reduce_floats<SumOfSquares>(args, stream, static_cast<double>(args.inputs[0].logical[dim]),
                              [dim](int d) { return d == dim; });
}

void sum_to_cuda(const KernelArgs& args, Stream& stream) {
  const Shape& x = args.inputs[0].shape;
  const Shape& y = args.outputs[0].shape;
  const int missing = x.rank() - y.rank();
  reduce_floats<Sum>(args, stream, 1, [&](int d) { return d < missing || y[d - missing] != x[d]; });
}

// As the whole rows of ops/norms.cpp.
void row_sum_squares_cuda(const KernelArgs& args, Stream& stream) {
  const int rank = args.inputs[0].shape.rank();
  const int row_dims = rank == 3 ? 2 : std::min(rank, 1);
  reduce_floats<SumOfSquares>(args, stream, 1, [=](int d) { return d >= row_dims; });
}

void row_sum_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  with_any_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    reduce<Sum, T, Compute<T>>(args.outputs[0], x, 1, [&](int d) { return d < x.shape.rank() - 1; }, stream);
  });
}

}  // namespace troupe::cuda
