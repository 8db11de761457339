// Batch norm over x[samples, channels, ..], and its parts for pieces that lie on several devices. The samples make up pieces
// that have statistics of their own (ops/batch_norm.h). A block has a channel and goes through its pieces.

#include "ops/cuda/copy.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

// What is held of x, and the first piece that a tensor [pieces, channels] here has.
struct Samples {
  int64_t begin, end;  // of the whole x
  int64_t per_piece, channels, inner, first_piece;

  __device__ int64_t statistic(int64_t piece, int64_t channel) const {
    return (piece - first_piece) * channels + channel;
  }
  // The piece and channel of an element, as the place of their statistic; and the channel.
  __device__ int64_t statistic_of(int64_t element, int64_t& channel) const {
    const int64_t row = quotient(element, inner);
    const int64_t sample = quotient(row, channels);
    channel = row - sample * channels;
    return statistic(quotient(begin + sample, per_piece), channel);
  }
};

Samples samples_of(const KernelArgs& args, const TensorView& x, const TensorView& statistics) {
  const int64_t samples = args.attrs->integer("samples", 0);
  const int64_t per_piece = samples == 0 ? x.logical[0] : samples;
  Samples s{x.offset[0], x.offset[0] + x.shape[0], per_piece > 1 ? per_piece : 1, x.shape[1], 1, statistics.offset[0]};
  for (int d = 2; d < x.shape.rank(); ++d) s.inner *= x.shape[d];
  return s;
}

// A piece's elements of one channel, `first` of which is the first sample here.
struct Run {
  int64_t first, count, piece;
};

template <class Visit>
__device__ __forceinline__ void for_each_run(const Samples& s, Visit visit) {
  for (int64_t at = s.begin; at < s.end;) {
    const int64_t piece = at / s.per_piece;
    const int64_t stop = (piece + 1) * s.per_piece < s.end ? (piece + 1) * s.per_piece : s.end;
    visit(Run{at - s.begin, stop - at, piece});
    at = stop;
  }
}

// Calls visit(element) for this thread's elements of a run.
template <class Visit>
__device__ __forceinline__ void for_elements(const Samples& s, const Run& run, int64_t channel, Visit visit) {
  for (int64_t i = threadIdx.x; i < run.count * s.inner; i += kThreads) {
    const int64_t sample = quotient(i, s.inner);
    visit(((run.first + sample) * s.channels + channel) * s.inner + i - sample * s.inner);
  }
}

// op(channel) by each block.
template <class Op>
__global__ void __launch_bounds__(kThreads) channels_kernel(Op op, int64_t channels) {
  for (int64_t channel = blockIdx.x; channel < channels; channel += gridDim.x) op(channel);
}

template <class Op>
void for_channels(Stream& stream, int64_t channels, Op op) {
  if (channels == 0) return;
  launch(stream, blocks_for(channels, 1), kThreads, kGroupBytes, channels_kernel<Op>, op, channels);
}

template <class T>
struct Forward {
  Samples s;
  T* y;
  T* mean;
  T* rstd;
  const T* x;
  const T* scale;
  const T* shift;
  double eps;

  __device__ void operator()(int64_t channel) const {
    const Group<kThreads> group;
    for_each_run(s, [&](const Run& run) {
      const T total = static_cast<T>(run.count * s.inner);
      T sum = 0;
      for_elements(s, run, channel, [&](int64_t i) { sum += x[i]; });
      const T m = group.sum(sum) / total;
      T squares = 0;
      for_elements(s, run, channel, [&](int64_t i) { squares += (x[i] - m) * (x[i] - m); });
      const T r = T(1) / sqrt(group.sum(squares) / total + static_cast<T>(eps));
      if (threadIdx.x == 0) {
        mean[s.statistic(run.piece, channel)] = m;
        rstd[s.statistic(run.piece, channel)] = r;
      }
      for_elements(s, run, channel, [&](int64_t i) { y[i] = (x[i] - m) * r * scale[channel] + shift[channel]; });
    });
  }
};

template <class T>
__device__ __forceinline__ T input_gradient(T dy, T x, T scale, T mean, T rstd, T dy_mean, T dyh_mean) {
  return scale * rstd * (dy - dy_mean - (x - mean) * (dyh_mean * rstd));
}

template <class T>
struct Backward {
  Samples s;
  T* dx;
  T* dscale;
  T* dshift;
  const T* dy;
  const T* x;
  const T* scale;
  const T* mean;
  const T* rstd;

  __device__ void operator()(int64_t channel) const {
    const Group<kThreads> group;
    T all_h = 0;
    T all = 0;
    for_each_run(s, [&](const Run& run) {
      const T total = static_cast<T>(run.count * s.inner);
      const T m = mean[s.statistic(run.piece, channel)];
      const T r = rstd[s.statistic(run.piece, channel)];
      T sum = 0;
      T sum_h = 0;
      for_elements(s, run, channel, [&](int64_t i) {
        sum += dy[i];
        sum_h += dy[i] * ((x[i] - m) * r);
      });
      sum = group.sum(sum);
      sum_h = group.sum(sum_h);
      all += sum;
      all_h += sum_h;
      for_elements(s, run, channel, [&](int64_t i) {
        dx[i] = input_gradient(dy[i], x[i], scale[channel], m, r, sum / total, sum_h / total);
      });
    });
    if (threadIdx.x != 0) return;
    dscale[channel] = all_h;
    dshift[channel] = all;
  }
};

// sum[piece, channel] of x; of (x - mean)^2; of dy (x - mean) rstd.
enum class Sum { plain, squares, products };

template <class T, Sum kSum>
struct Sums {
  Samples s;
  T* sum;
  const T* dy;
  const T* x;
  const T* mean;
  const T* rstd;

  __device__ void operator()(int64_t channel) const {
    const Group<kThreads> group;
    for_each_run(s, [&](const Run& run) {
      const int64_t at = s.statistic(run.piece, channel);
      const T m = kSum == Sum::plain ? T(0) : mean[at];
      T total = 0;
      for_elements(s, run, channel, [&](int64_t i) {
        if constexpr (kSum == Sum::plain) total += x[i];
        if constexpr (kSum == Sum::squares) total += (x[i] - m) * (x[i] - m);
        if constexpr (kSum == Sum::products) total += dy[i] * ((x[i] - m) * rstd[at]);
      });
      total = group.sum(total);
      if (threadIdx.x == 0) sum[at] = total;
    });
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) normalize_kernel(Samples s, T* y, const T* x, const T* mean, const T* rstd,
                                                             const T* scale, const T* shift, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    int64_t channel = 0;
    const int64_t at = s.statistic_of(i, channel);
    y[i] = (x[i] - mean[at]) * rstd[at] * scale[channel] + shift[channel];
  }
}

template <class T>
struct InputGradient {
  T* dx;
  const T* dy;
  const T* x;
  const T* scale;
  const T* mean;
  const T* rstd;
  const T* dy_sum;
  const T* dyh_sum;
  T total;
};

template <class T>
__global__ void __launch_bounds__(kThreads) input_gradient_kernel(Samples s, InputGradient<T> g, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    int64_t channel = 0;
    const int64_t at = s.statistic_of(i, channel);
    g.dx[i] = input_gradient(g.dy[i], g.x[i], g.scale[channel], g.mean[at], g.rstd[at], g.dy_sum[at] / g.total,
                             g.dyh_sum[at] / g.total);
  }
}

// The pieces that have no samples here add nothing.
template <Sum kSum>
void sums(const KernelArgs& args, Stream& stream, size_t x, size_t mean) {
  fill_zero(args.outputs[0], stream);
  with_float(args.inputs[x].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto input = [&](size_t i) { return i < args.inputs.size() ? args.inputs[i].as<T>() : nullptr; };
    for_channels(stream, args.inputs[x].shape[1],
                 Sums<T, kSum>{samples_of(args, args.inputs[x], args.outputs[0]), args.outputs[0].as<T>(), input(0),
                               input(x), input(mean), input(mean + 1)});
  });
}

}  // namespace

void batch_norm_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_channels(stream, x.shape[1],
                 Forward<T>{samples_of(args, x, args.outputs[1]), args.outputs[0].as<T>(), args.outputs[1].as<T>(),
                            args.outputs[2].as<T>(), x.as<T>(), args.inputs[1].as<T>(), args.inputs[2].as<T>(),
                            args.attrs->number("eps")});
  });
}

void batch_norm_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[1];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_channels(stream, x.shape[1],
                 Backward<T>{samples_of(args, x, args.inputs[3]), args.outputs[0].as<T>(), args.outputs[1].as<T>(),
                             args.outputs[2].as<T>(), args.inputs[0].as<T>(), x.as<T>(), args.inputs[2].as<T>(),
                             args.inputs[3].as<T>(), args.inputs[4].as<T>()});
  });
}

void channel_sum_cuda(const KernelArgs& args, Stream& stream) { sums<Sum::plain>(args, stream, 0, 1); }
void channel_square_sum_cuda(const KernelArgs& args, Stream& stream) { sums<Sum::squares>(args, stream, 0, 1); }
void channel_product_sum_cuda(const KernelArgs& args, Stream& stream) { sums<Sum::products>(args, stream, 1, 2); }

void channel_normalize_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  if (x.elements() == 0) return;
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(x.elements(), kThreads), kThreads, 0, normalize_kernel<T>,
           samples_of(args, x, args.inputs[1]), args.outputs[0].as<T>(), x.as<T>(), args.inputs[1].as<T>(),
           args.inputs[2].as<T>(), args.inputs[3].as<T>(), args.inputs[4].as<T>(), x.elements());
  });
}

void batch_norm_input_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[1];
  if (x.elements() == 0) return;
  const Samples s = samples_of(args, x, args.inputs[3]);
  double total = static_cast<double>(s.per_piece);  // of a whole piece
  for (int d = 2; d < x.logical.rank(); ++d) total *= static_cast<double>(x.logical[d]);
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const InputGradient<T> g{args.outputs[0].as<T>(), args.inputs[0].as<T>(), x.as<T>(),
                             args.inputs[2].as<T>(),  args.inputs[3].as<T>(), args.inputs[4].as<T>(),
                             args.inputs[5].as<T>(),  args.inputs[6].as<T>(), static_cast<T>(total)};
    launch(stream, blocks_for(x.elements(), kThreads), kThreads, 0, input_gradient_kernel<T>, s, g, x.elements());
  });
}

}  // namespace troupe::cuda
