// A device assembles its part of a tensor from the registers of others. The attribute `regions` is that of ops/pull.h.

#include <algorithm>
#include <limits>
#include <string>

#include "ops/cuda/copy.h"
#include "ops/cuda/kernels.h"

namespace troupe::cuda {
namespace {

constexpr int kMostSources = 256;  // what fits into a kernel's parameters
constexpr int kMostDepth = 32;     // of the tree

// Sources that are added along a postfix program, as in ops/cpu/reduce_tree.h.
template <class T>
struct TreeSum {
  Walk<1> out;
  int sources = 0;
  int length = 0;
  const T* data[kMostSources] = {};
  int64_t strides[kMostSources][kMaxRank] = {};
  int16_t program[2 * kMostSources] = {};
};

enum class Reduction : int { sum, max, min };

template <class C>
__device__ __forceinline__ C reduced(Reduction op, C a, C b) {
  return op == Reduction::sum ? a + b : op == Reduction::max ? larger(a, b) : smaller(a, b);
}

template <class T>
__global__ void __launch_bounds__(kThreads) tree_kernel(const __grid_constant__ TreeSum<T> sum, Reduction op, T* out) {
  using C = Compute<T>;
  for (int64_t i = global_thread(); i < sum.out.n; i += global_threads()) {
    int64_t index[kMaxRank];
    int64_t rest = i;
    int64_t to = 0;
    for (int d = sum.out.rank - 1; d >= 0; --d) {
      const int64_t next = quotient(rest, sum.out.sizes[d]);
      index[d] = rest - next * sum.out.sizes[d];
      to += index[d] * sum.out.strides[0][d];
      rest = next;
    }
    C stack[kMostDepth];
    int depth = 0;
    for (int k = 0; k < sum.length; ++k) {
      const int source = sum.program[k];
      if (source < 0) {
        --depth;
        stack[depth - 1] = reduced(op, stack[depth - 1], stack[depth]);
        continue;
      }
      int64_t at = 0;
      for (int d = 0; d < sum.out.rank; ++d) at += index[d] * sum.strides[source][d];
      stack[depth++] = widened(sum.data[source][at]);
    }
    out[to] = narrowed<T>(stack[0]);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) neutral_kernel(T* out, int64_t n, Compute<T> value) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) out[i] = narrowed<T>(value);
}

template <class T>
void fill_neutral(const TensorView& out, Reduction op, Stream& stream) {
  using C = Compute<T>;
  using Limits = std::numeric_limits<C>;
  C value = 0;
  if (op == Reduction::max) value = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  if (op == Reduction::min) value = Limits::has_infinity ? Limits::infinity() : Limits::max();
  if (out.elements() == 0) return;
  launch(stream, blocks_for(out.elements(), kThreads), kThreads, 0, neutral_kernel<T>, out.as<T>(), out.elements(),
         value);
}

// `regions` as numbers: per region its rank, offset, extent, the number of sources, per source its input, base and offset,
// the length of the program and the program.
class Pulling {
 public:
  Pulling(const KernelArgs& args, Stream& stream)
      : args_(args),
        stream_(stream),
        flat_(args.attrs->integer("flat") != 0),
        reduction_(static_cast<Reduction>(args.attrs->integer("reduction"))),
        out_strides_(strides_of(shape_of(args.outputs[0]))),
        at_(args.attrs->integers("regions").data()),
        end_(at_ + args.attrs->integers("regions").size()) {}

  void run() {
    if (args_.attrs->integer("filled") != 0) {
      with_any(args_.outputs[0].dtype,
               [&](auto zero) { fill_neutral<decltype(zero)>(args_.outputs[0], reduction_, stream_); });
    }
    while (at_ != end_) region();
  }

 private:
  struct Source {
    const std::byte* data;  // at the region's first element
    Dims strides;
  };

  Shape shape_of(const TensorView& view) const { return flat_ ? Shape{view.elements()} : view.shape; }
  Dims take(int rank) {
    const Dims dims(std::span(at_, static_cast<size_t>(rank)));
    at_ += rank;
    return dims;
  }
  static int64_t linear(const Dims& strides, const Dims& index) {
    int64_t at = 0;
    for (int d = 0; d < index.rank(); ++d) at += strides[d] * index[d];
    return at;
  }
  Source source(int rank) {
    const TensorView& input = args_.inputs[static_cast<size_t>(*at_++)];
    const int64_t base = *at_++;
    const Dims strides = strides_of(shape_of(input));
    return {input.as<std::byte>() + (base + linear(strides, take(rank))) * size_of(input.dtype), strides};
  }

  void region() {
    const TensorView& out = args_.outputs[0];
    const int rank = static_cast<int>(*at_++);
    const Dims offset = take(rank);
    const Dims extent = take(rank);
    const int64_t sources = *at_++;
    std::byte* to = out.as<std::byte>() + linear(out_strides_, offset) * size_of(out.dtype);
    if (sources == 1) {
      const Source from = source(rank);
      // A slice of a sum may lie where it belongs in the whole.
      if (from.data != to) copy_strided(to, out_strides_, from.data, from.strides, extent, size_of(out.dtype), stream_);
      at_ += *at_ + 1;
      return;
    }
    if (is_float(out.dtype)) {
      with_any_float(out.dtype, [&](auto zero) { add<decltype(zero)>(to, extent, sources); });
      return;
    }
    *args_.failure =
        "sums between devices are possible for f32, f64, bf16 and f16, not for " + std::string(name_of(out.dtype));
    at_ = end_;
  }

  template <class T>
  void add(std::byte* to, const Shape& extent, int64_t sources) {
    if (sources > kMostSources) {
      *args_.failure = std::to_string(sources) +
                       " parts are to be added at once, but kernels on CUDA devices take at most " +
                       std::to_string(kMostSources);
      at_ = end_;
      return;
    }
    TreeSum<T> sum;
    sum.sources = static_cast<int>(sources);
    sum.out.n = extent.elements();
    sum.out.rank = extent.rank();
    for (int d = 0; d < extent.rank(); ++d) {
      sum.out.sizes[d] = extent[d];
      sum.out.strides[0][d] = out_strides_[d];
    }
    for (int s = 0; s < sum.sources; ++s) {
      const Source from = source(extent.rank());
      sum.data[s] = reinterpret_cast<const T*>(from.data);
      for (int d = 0; d < extent.rank(); ++d) sum.strides[s][d] = from.strides[d];
    }
    sum.length = static_cast<int>(*at_++);
    CHECK(sum.length < 2 * kMostSources, sum.length);
    for (int k = 0; k < sum.length; ++k) sum.program[k] = static_cast<int16_t>(*at_++);
    if (sum.out.n == 0) return;
    launch(stream_, blocks_for(sum.out.n, kThreads), kThreads, 0, tree_kernel<T>, sum, reduction_,
           reinterpret_cast<T*>(to));
  }

  const KernelArgs& args_;
  Stream& stream_;
  bool flat_;
  Reduction reduction_;
  Dims out_strides_;
  const int64_t* at_;
  const int64_t* end_;
};

}  // namespace

void pull_cuda(const KernelArgs& args, Stream& stream) { Pulling(args, stream).run(); }

}  // namespace troupe::cuda
