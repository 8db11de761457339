// Constants, and numbers that are a function of a key and of the element's index in the logical tensor: Philox4x32-10, the
// words of ops/cpu/random.h. The numbers made of them are the CPU's up to a rounding.

#include <algorithm>
#include <cmath>

#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/walk.h"
#include "runtime/base/random.h"

namespace troupe::cuda {
namespace {

struct Words {
  uint32_t at[4];
};

// Those of elements 4 block .. 4 block + 3.
__device__ Words draw(uint64_t key, uint64_t block) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = 0, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * c0;
    const uint64_t product1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(product1);
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(product0);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

// Of what is drawn: of the run alone, or of a piece of a step too (ops/random.cpp).
struct Key {
  uint64_t node;
  const int64_t* step;  // null: of the run
  uint64_t piece;

  __device__ uint64_t now() const {
    return step == nullptr ? node : mix64(mix64(node, static_cast<uint64_t>(*step)), piece);
  }
};

constexpr double kUnit = 1.0 / 16777216.0;  // 2^-24

// Each makes element number `lane` of four from their words, and from what is there.
struct Uniform {
  double low, high;
  template <class C>
  __device__ C operator()(const Words& words, int lane, C) const {
    const C u = static_cast<C>(words.at[lane] >> 8) * C(kUnit);
    return u * (static_cast<C>(high) - static_cast<C>(low)) + static_cast<C>(low);
  }
};

struct Normal {
  double mean, deviation;
  template <class C>
  __device__ C operator()(const Words& words, int lane, C) const {
    const int pair = lane & 2;
    const C u1 = static_cast<C>((words.at[pair] >> 8) + 1) * C(kUnit);
    const C u2 = static_cast<C>(words.at[pair + 1] >> 8) * C(kUnit);
    const C radius = sqrt(C(-2) * log(u1));
    // A quarter turn at a time: what is left of a 24-bit fraction is exact, and small.
    const C turns = u2 * C(4);
    const C quarter = rint(turns);
    const C angle = (turns - quarter) * C(1.57079632679489661923);
    const int q = static_cast<int>(quarter) + (lane & 1) * 3;  // sin a = cos (a - a quarter turn)
    const C part = (q & 1) != 0 ? sin(angle) : cos(angle);
    const C z = radius * (((q + 1) & 2) != 0 ? -part : part);
    return z * static_cast<C>(deviation) + static_cast<C>(mean);
  }
};

struct Dropout {
  uint32_t threshold;
  double factor;
  template <class C>
  __device__ C operator()(const Words& words, int lane, C x) const {
    return (words.at[lane] >> 8) >= threshold ? x * static_cast<C>(factor) : C(0);
  }
};

// The walk is over what is held here; its strides are those of the logical tensor, whose element `first` is the first here.
// Threads take elements that lie together, so that neighbours in a warp draw the same block or the next one.
template <class T, class F>
__global__ void __launch_bounds__(kThreads) random_kernel(Walk<1> walk, int64_t first, Key of, T* y, const T* x, F f) {
  const uint64_t key = of.now();
  for (int64_t i = global_thread(); i < walk.n; i += global_threads()) {
    int64_t at[1];
    locate<1>(walk, i, at);
    const int64_t element = first + at[0];
    const Words words = draw(key, static_cast<uint64_t>(element) / 4);
    const auto before = x == nullptr ? Compute<T>(0) : widened(x[i]);
    y[i] = narrowed<T>(f(words, static_cast<int>(element & 3), before));
  }
}

// Four elements of one block at a time, where all of the logical tensor is here.
template <class T, class F>
__global__ void __launch_bounds__(kThreads) whole_random_kernel(int64_t n, Key of, T* y, const T* x, F f) {
  const uint64_t key = of.now();
  for (int64_t b = global_thread(); b * 4 < n; b += global_threads()) {
    const Words words = draw(key, static_cast<uint64_t>(b));
    for (int lane = 0; lane < 4 && b * 4 + lane < n; ++lane) {
      const auto before = x == nullptr ? Compute<T>(0) : widened(x[b * 4 + lane]);
      y[b * 4 + lane] = narrowed<T>(f(words, lane, before));
    }
  }
}

template <class T, class F>
void run(const TensorView& y, const T* x, Key key, F f, Stream& stream) {
  if (y.elements() == 0) return;
  if (y.shape == y.logical) {
    launch(stream, blocks_for(y.elements(), kThreads * 4), kThreads, 0, whole_random_kernel<T, F>, y.elements(), key,
           y.as<T>(), x, f);
    return;
  }
  const Dims strides = strides_of(y.logical);
  int64_t first = 0;
  for (int d = 0; d < y.shape.rank(); ++d) first += strides[d] * y.offset[d];
  launch(stream, blocks_for(y.elements(), kThreads), kThreads, 0, random_kernel<T, F>, make_walk<1>(y.shape, {strides}),
         first, key, y.as<T>(), x, f);
}

// As ops/random.cpp has them.
Key node_key(const KernelArgs& args) {
  const uint64_t key = args.attrs->has("key") ? static_cast<uint64_t>(args.attrs->integer("key")) : args.key;
  return {mix64(args.firing.seed, key), nullptr, 0};
}
Key piece_key(const KernelArgs& args, const Stream& stream) {
  const Firing& firing = args.firing;
  return {node_key(args).node, step_of(stream),
          mix64(static_cast<uint64_t>(firing.shard), static_cast<uint64_t>(firing.piece))};
}

template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* y, int64_t n, double value) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) y[i] = narrowed<T>(static_cast<Compute<T>>(value));
}

}  // namespace

void fill_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& y = args.outputs[0];
  if (y.elements() == 0) return;
  with_any(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(y.elements(), kThreads), kThreads, 0, fill_kernel<T>, y.as<T>(), y.elements(),
           args.attrs->number("value"));
  });
}

void dropout_cuda(const KernelArgs& args, Stream& stream) {
  const double p = std::clamp(args.attrs->number("p"), 0.0, 1.0);
  // Kept is what is at least this: u >= p without rounding.
  const Dropout keep{static_cast<uint32_t>(std::ceil(p * 16777216.0)), p < 1.0 ? 1.0 / (1.0 - p) : 0.0};
  with_any_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(args.outputs[0], args.inputs[0].as<T>(), piece_key(args, stream), keep, stream);
  });
}

void random_normal_cuda(const KernelArgs& args, Stream& stream) {
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(args.outputs[0], nullptr, node_key(args), Normal{args.attrs->number("mean"), args.attrs->number("std")},
           stream);
  });
}

void random_uniform_cuda(const KernelArgs& args, Stream& stream) {
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(args.outputs[0], nullptr, node_key(args), Uniform{args.attrs->number("low"), args.attrs->number("high")},
           stream);
  });
}

}  // namespace troupe::cuda
