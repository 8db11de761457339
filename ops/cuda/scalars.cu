// Ops on a few scalars: what a step decides by. A single thread computes each, in float64, as the CPU does.

#include <string>

#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/scalars.h"

namespace troupe::cuda {
namespace {

template <class F>
__global__ void __launch_bounds__(kWarpSize) one_thread_kernel(F f) {
  if (threadIdx.x == 0) f();
}

template <class F>
void once(Stream& stream, F f) {
  launch(stream, 1, kWarpSize, 0, one_thread_kernel<F>, f);
}

// Not std::min and so on, which are the host's.
__device__ __forceinline__ double least_of(double a, double b) { return b < a ? b : a; }
__device__ __forceinline__ double most_of(double a, double b) { return a < b ? b : a; }

struct Write {
  ScalarOut to;
  double value;
  __device__ void operator()() const { to.write(value); }
};

struct Divide {
  Scalar sum, weight;
  ScalarOut mean;
  __device__ void operator()() const {
    // In the dtype itself, rounded once.
    mean.write(sum.read() / weight.read());
  }
};

// As torch.nn.utils.clip_grad_norm_: a NaN norm gives a NaN scale.
struct ClipScale {
  Scalar norm;
  ScalarOut scale;
  double max_norm;
  __device__ void operator()() const {
    const double value = max_norm / (norm.read() + 1e-6);
    scale.write(value > 1 ? 1.0 : value);
  }
};

constexpr size_t kMostScalars = 64;

struct AllFinite {
  Scalar scalars[kMostScalars];
  int count;
  ScalarOut ok;
  __device__ void operator()() const {
    bool finite = true;
    for (int i = 0; i < count; ++i) finite = finite && isfinite(scalars[i].read());
    ok.write(finite ? 1.0 : 0.0);
  }
};

// As ops/loss_scale.cpp has it.
struct LossScale {
  Scalar scale, loss, norm;
  const int64_t* good_steps;
  ScalarOut next_scale;
  int64_t* next_good_steps;
  double growth, backoff, floor;
  int64_t interval;

  __device__ void operator()() const {
    const double old = scale.read();
    const int64_t good = *good_steps;
    double next = old;
    int64_t count = good;
    if (isfinite(loss.read())) {
      if (!isfinite(norm.read())) {
        next = least_of(old, most_of(old * backoff, floor));
        count = 0;
      } else if (good + 1 < interval) {
        count = good + 1;
      } else {
        const double grown = old * growth;
        const double largest = next_scale.is_double() ? 1.7976931348623157e308 : 3.4028234663852886e38;
        next = grown <= largest ? grown : old;
        count = 0;
      }
    }
    next_scale.write(next);
    *next_good_steps = count;
  }
};

struct LambRate {
  Scalar lr, p_squares, u_squares;
  ScalarOut rate;
  double least, most;
  __device__ void operator()() const {
    const double p = sqrt(p_squares.read());
    const double u = sqrt(u_squares.read());
    const double kept = p < least ? least : most < p ? most : p;
    rate.write(lr.read() * (p > 0 && u > 0 ? kept / u : 1.0));
  }
};

struct AdafactorRate {
  Scalar lr;
  const int64_t* step;
  Scalar p_squares, u_squares;
  ScalarOut rate;
  double elements, eps, d;
  __device__ void operator()() const {
    const double p = sqrt(p_squares.read() / elements);
    const double u = sqrt(u_squares.read() / elements);
    const double most = least_of(lr.read(), 1.0 / sqrt(static_cast<double>(*step + 1)));
    rate.write(most * most_of(eps, p) / most_of(1.0, u / d));
  }
};

}  // namespace

void count_cuda(const KernelArgs& args, Stream& stream) {
  once(stream, Write{ScalarOut(args.outputs[0]), static_cast<double>(args.inputs[0].elements())});
}

void weighted_mean_cuda(const KernelArgs& args, Stream& stream) {
  once(stream, Divide{Scalar(args.inputs[0]), Scalar(args.inputs[1]), ScalarOut(args.outputs[0])});
}

void global_norm_scale_cuda(const KernelArgs& args, Stream& stream) {
  once(stream, ClipScale{Scalar(args.inputs[0]), ScalarOut(args.outputs[0]), args.attrs->number("max_norm")});
}

void is_finite_cuda(const KernelArgs& args, Stream& stream) {
  if (args.inputs.size() > kMostScalars) {
    *args.failure = "it has " + std::to_string(args.inputs.size()) + " operands, but takes at most " +
                    std::to_string(kMostScalars) + " on CUDA devices";
    return;
  }
  AllFinite all = {};
  for (const TensorView& x : args.inputs) all.scalars[all.count++] = Scalar(x);
  all.ok = ScalarOut(args.outputs[0]);
  once(stream, all);
}

void loss_scale_update_cuda(const KernelArgs& args, Stream& stream) {
  once(stream,
       LossScale{Scalar(args.inputs[0]), Scalar(args.inputs[2]), Scalar(args.inputs[3]), args.inputs[1].as<int64_t>(),
                 ScalarOut(args.outputs[0]), args.outputs[1].as<int64_t>(), args.attrs->number("growth"),
                 args.attrs->number("backoff"), args.attrs->number("floor"), args.attrs->integer("interval")});
}

void lamb_rate_cuda(const KernelArgs& args, Stream& stream) {
  once(stream, LambRate{Scalar(args.inputs[0]), Scalar(args.inputs[1]), Scalar(args.inputs[2]),
                        ScalarOut(args.outputs[0]), args.attrs->number("least"), args.attrs->number("most")});
}

void adafactor_rate_cuda(const KernelArgs& args, Stream& stream) {
  once(stream, AdafactorRate{Scalar(args.inputs[0]), args.inputs[1].as<int64_t>(), Scalar(args.inputs[2]),
                             Scalar(args.inputs[3]), ScalarOut(args.outputs[0]),
                             static_cast<double>(args.attrs->integer("elements")), args.attrs->number("eps"),
                             args.attrs->number("d")});
}

}  // namespace troupe::cuda
