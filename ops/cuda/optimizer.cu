// The optimizers' updates, each in one pass over the parameter and its state. What they have of scalars lies on the device:
// one thread of each block makes the constants, in float64 as the CPU does.

#include "ops/cuda/kernels.h"
#include "ops/cuda/map.h"
#include "ops/cuda/scalars.h"

namespace troupe::cuda {
namespace {

// f.constants() are those of a firing; f(constants, in, out) computes as in map.h.
template <class T, int kIn, int kOut, class F>
__global__ void __launch_bounds__(kThreads) update_kernel(MapOperands<T, kIn, kOut> operands, F f) {
  using Constants = typename F::Constants;
  Constants& constants = shared_memory<Constants>();
  if (threadIdx.x == 0) constants = f.constants();
  __syncthreads();
  constexpr int N = kPack<T>;
  const int64_t packs = operands.packs ? operands.n / N : 0;
  for (int64_t p = global_thread(); p < packs; p += global_threads()) {
    Pack<T, N> in[kIn];
    Pack<T, N> out[kOut];
#pragma unroll
    for (int k = 0; k < kIn; ++k) in[k] = load_pack<N>(operands.in[k] + p * N);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      T a[kIn];
      T b[kOut];
#pragma unroll
      for (int k = 0; k < kIn; ++k) a[k] = in[k].at[j];
      f(constants, a, b);
#pragma unroll
      for (int k = 0; k < kOut; ++k) out[k].at[j] = b[k];
    }
#pragma unroll
    for (int k = 0; k < kOut; ++k) store_pack<N>(operands.out[k] + p * N, out[k]);
  }
  for (int64_t i = packs * N + global_thread(); i < operands.n; i += global_threads()) {
    T a[kIn];
    T b[kOut];
#pragma unroll
    for (int k = 0; k < kIn; ++k) a[k] = operands.in[k][i];
    f(constants, a, b);
#pragma unroll
    for (int k = 0; k < kOut; ++k) operands.out[k][i] = b[k];
  }
}

template <class T, int kIn, int kOut, class F>
void update(Stream& stream, const TensorView* const (&in)[kIn], const TensorView* const (&out)[kOut], F f) {
  const MapOperands<T, kIn, kOut> operands = map_operands<T>(in, out);
  if (operands.n == 0) return;
  launch(stream, blocks_for(operands.n, kThreads * kPack<T>), kThreads, sizeof(typename F::Constants),
         update_kernel<T, kIn, kOut, F>, operands, f);
}

// ---- SGD: inputs p, g, and m where there is momentum ----

template <class T, bool kMomentum>
struct Sgd {
  Scalar lr, scale, ok;
  const int64_t* step;  // null: there is none
  double momentum, dampening, weight_decay;
  bool nesterov;

  struct Constants {
    bool allowed, first;
    T lr, decay, scale, momentum, fresh;
  };

  __device__ Constants constants() const {
    // Without a step the momentum starts at zero, which is the same as long as there is no dampening.
    const bool first = step != nullptr && *step < 1;
    return {ok.read() != 0,
            first,
            static_cast<T>(lr.read()),
            static_cast<T>(weight_decay),
            static_cast<T>(scale.read()),
            static_cast<T>(momentum),
            static_cast<T>(1.0 - dampening)};
  }

  __device__ void operator()(const Constants& c, const T* in, T* out) const {
    const T p = in[0];
    const T d = in[1] * c.scale + c.decay * p;
    if constexpr (!kMomentum) {
      out[0] = c.allowed ? p - c.lr * d : p;
    } else {
      // At the first step m may hold anything, also NaN: select rather than multiply by 0.
      const T m = c.first ? d : c.momentum * in[2] + c.fresh * d;
      out[0] = c.allowed ? p - c.lr * (nesterov ? d + c.momentum * m : m) : p;
      out[1] = c.allowed ? m : in[2];
    }
  }
};

// Momentum 0 with an operand m: the update leaves m alone, as the CPU's does.
template <class T>
struct SgdKeepingMomentum {
  Sgd<T, false> sgd;
  using Constants = typename Sgd<T, false>::Constants;
  __device__ Constants constants() const { return sgd.constants(); }
  __device__ void operator()(const Constants& c, const T* in, T* out) const {
    sgd(c, in, out);
    out[1] = in[2];
  }
};

// ---- Adam and LAMB: inputs p, g, m, v ----

template <class T>
struct AdamConstants {
  bool allowed;
  T scale, beta1, rest1, beta2, rest2, mean_scale, root_scale, eps, decay;
  T shrink, step_size;
};

template <class T>
struct Adam {
  Scalar lr, scale, ok;
  const int64_t* step;
  double beta1, beta2, eps, weight_decay;
  bool decoupled;
  bool is_lamb;

  using Constants = AdamConstants<T>;

  __device__ Constants constants() const {
    const double t = static_cast<double>(*step + 1);
    const double correction1 = 1.0 - pow(beta1, t);
    const double correction2 = 1.0 - pow(beta2, t);
    const double rate = is_lamb ? 0.0 : lr.read();
    Constants c = {};
    c.allowed = ok.read() != 0;
    c.scale = static_cast<T>(scale.read());
    c.beta1 = static_cast<T>(beta1);
    c.rest1 = static_cast<T>(1.0 - beta1);
    c.beta2 = static_cast<T>(beta2);
    c.rest2 = static_cast<T>(1.0 - beta2);
    c.mean_scale = static_cast<T>(1.0 / correction1);
    c.root_scale = static_cast<T>(1.0 / sqrt(correction2));
    c.eps = static_cast<T>(eps);
    c.decay = static_cast<T>(decoupled ? 0.0 : weight_decay);
    c.shrink = static_cast<T>(decoupled ? 1.0 - rate * weight_decay : 1.0);
    c.step_size = static_cast<T>(rate / correction1);
    return c;
  }

  __device__ void operator()(const Constants& c, const T* in, T* out) const {
    const T p = in[0];
    const T d = is_lamb ? in[1] * c.scale : in[1] * c.scale + c.decay * p;
    const T m = c.beta1 * in[2] + c.rest1 * d;
    const T v = c.beta2 * in[3] + c.rest2 * (d * d);
    const T root = sqrt(v) * c.root_scale + c.eps;
    const T result = is_lamb ? m * c.mean_scale / root + c.decay * p : p * c.shrink - c.step_size * (m / root);
    out[0] = c.allowed ? result : is_lamb ? in[1] : p;
    out[1] = c.allowed ? m : in[2];
    out[2] = c.allowed ? v : in[3];
  }
};

// ---- p (1 - lr weight_decay) - rate u: inputs p, u ----

template <class T>
struct Apply {
  Scalar lr, rate, ok;
  double weight_decay;
  struct Constants {
    bool allowed;
    T kept, by;
  };
  __device__ Constants constants() const {
    return {ok.read() != 0, static_cast<T>(1.0 - lr.read() * weight_decay), static_cast<T>(rate.read())};
  }
  __device__ void operator()(const Constants& c, const T* in, T* out) const {
    out[0] = c.allowed ? in[0] * c.kept - c.by * in[1] : in[0];
  }
};

// ---- Adafactor: inputs v, x; and g, v ----

template <class T>
struct Moment {
  Scalar scale, ok;
  const int64_t* step;
  double beta2_decay;
  bool square;
  struct Constants {
    bool allowed;
    T factor, by;
  };
  __device__ Constants constants() const {
    const double s = scale.read();
    return {ok.read() != 0, static_cast<T>(s * s), static_cast<T>(pow(static_cast<double>(*step + 1), beta2_decay))};
  }
  __device__ void operator()(const Constants& c, const T* in, T* out) const {
    const T value = square ? in[1] * c.factor * in[1] : in[1] * c.factor;
    out[0] = c.allowed ? in[0] + c.by * (value - in[0]) : in[0];
  }
};

template <class T>
struct Direction {
  Scalar scale;
  double eps;
  struct Constants {
    T factor, least;
  };
  __device__ Constants constants() const { return {static_cast<T>(scale.read()), static_cast<T>(eps * eps)}; }
  __device__ void operator()(const Constants& c, const T* in, T* out) const {
    out[0] = in[0] * c.factor / sqrt(larger(in[1], c.least));
  }
};

// The second moment of element [b, i, j] is row[b, i] column[b, j] / max(row_mean[b], eps).
template <class T>
struct Factors {
  const T* row;
  const T* column;
  const T* row_mean;
  int64_t rows, columns;
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    factored_kernel(T* u, const T* g, Factors<T> factors, int64_t n, Direction<T> direction) {
  const typename Direction<T>::Constants c = direction.constants();
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const int64_t row = quotient(i, factors.columns);
    const int64_t matrix = quotient(row, factors.rows);
    const T mean = factors.row_mean[matrix];
    const T eps = static_cast<T>(direction.eps);
    const T ratio = factors.row[row] / (mean < eps ? eps : mean);
    const T in[] = {g[i], factors.column[matrix * factors.columns + i - row * factors.columns] * ratio};
    direction(c, in, u + i);
  }
}

// ---- Muon: inputs g, m ----

template <class T>
struct Momentum {
  Scalar scale, ok;
  double momentum;
  bool nesterov;
  struct Constants {
    bool allowed;
    T scale, fresh, ahead;
  };
  __device__ Constants constants() const {
    return {ok.read() != 0, static_cast<T>(scale.read()), static_cast<T>(1.0 - momentum), static_cast<T>(momentum)};
  }
  __device__ void operator()(const Constants& c, const T* in, T* out) const {
    const T g = in[0] * c.scale;
    const T m = in[1] + c.fresh * (g - in[1]);
    out[0] = !c.allowed ? in[0] : nesterov ? g + c.ahead * (m - g) : m;
    out[1] = c.allowed ? m : in[1];
  }
};

}  // namespace

void sgd_cuda(const KernelArgs& args, Stream& stream) {
  const auto& in = args.inputs;
  const bool has_momentum = in.size() > 5;
  const double momentum = args.attrs->number("momentum", 0);
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto with = [&]<bool kMomentum>(std::bool_constant<kMomentum>) {
      return Sgd<T, kMomentum>{Scalar(in[2]),
                               Scalar(in[3]),
                               Scalar(in[4]),
                               in.size() > 6 ? in[6].as<int64_t>() : nullptr,
                               momentum,
                               args.attrs->number("dampening", 0),
                               args.attrs->number("weight_decay", 0),
                               args.attrs->integer("nesterov", 0) != 0};
    };
    if (!has_momentum) {
      update<T, 2, 1>(stream, {&in[0], &in[1]}, {&args.outputs[0]}, with(std::false_type{}));
    } else if (momentum == 0) {
      update<T, 3, 2>(stream, {&in[0], &in[1], &in[5]}, {&args.outputs[0], &args.outputs[1]},
                      SgdKeepingMomentum<T>{with(std::false_type{})});
    } else {
      update<T, 3, 2>(stream, {&in[0], &in[1], &in[5]}, {&args.outputs[0], &args.outputs[1]}, with(std::true_type{}));
    }
  });
}

void adamw_cuda(const KernelArgs& args, Stream& stream) {
  const auto& in = args.inputs;
  const Attrs& attrs = *args.attrs;
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const Adam<T> adam{Scalar(in[2]),
                       Scalar(in[3]),
                       Scalar(in[4]),
                       in[5].as<int64_t>(),
                       attrs.number("beta1", 0.9),
                       attrs.number("beta2", 0.999),
                       attrs.number("eps", 1e-8),
                       attrs.number("weight_decay", 0),
                       attrs.integer("decoupled", 1) != 0,
                       false};
    update<T, 4, 3>(stream, {&in[0], &in[1], &in[6], &in[7]}, {&args.outputs[0], &args.outputs[1], &args.outputs[2]},
                    adam);
  });
}

void lamb_cuda(const KernelArgs& args, Stream& stream) {
  const auto& in = args.inputs;
  const Attrs& attrs = *args.attrs;
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const Adam<T> adam{Scalar(),
                       Scalar(in[2]),
                       Scalar(in[3]),
                       in[4].as<int64_t>(),
                       attrs.number("beta1", 0.9),
                       attrs.number("beta2", 0.999),
                       attrs.number("eps", 1e-6),
                       attrs.number("weight_decay", 0),
                       false,
                       true};
    update<T, 4, 3>(stream, {&in[0], &in[1], &in[5], &in[6]}, {&args.outputs[0], &args.outputs[1], &args.outputs[2]},
                    adam);
  });
}

void apply_update_cuda(const KernelArgs& args, Stream& stream) {
  const auto& in = args.inputs;
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    update<T, 2, 1>(stream, {&in[0], &in[1]}, {&args.outputs[0]},
                    Apply<T>{Scalar(in[2]), Scalar(in[3]), Scalar(in[4]), args.attrs->number("weight_decay", 0)});
  });
}

void adafactor_moment_cuda(const KernelArgs& args, Stream& stream) {
  const auto& in = args.inputs;
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    update<T, 2, 1>(stream, {&in[0], &in[1]}, {&args.outputs[0]},
                    Moment<T>{Scalar(in[2]), Scalar(in[3]), in[4].as<int64_t>(), args.attrs->number("beta2_decay"),
                              args.attrs->integer("square", 0) != 0});
  });
}

void adafactor_direction_cuda(const KernelArgs& args, Stream& stream) {
  const auto& in = args.inputs;
  const Shape& shape = in[0].shape;
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const Direction<T> direction{Scalar(in[1]), args.attrs->number("eps")};
    if (in.size() <= 3) return update<T, 2, 1>(stream, {&in[0], &in[2]}, {&args.outputs[0]}, direction);
    if (shape.elements() == 0) return;
    const int last = shape.rank() - 1;
    launch(stream, blocks_for(shape.elements(), kThreads), kThreads, 0, factored_kernel<T>, args.outputs[0].as<T>(),
           in[0].as<T>(), Factors<T>{in[2].as<T>(), in[3].as<T>(), in[4].as<T>(), shape[last - 1], shape[last]},
           shape.elements(), direction);
  });
}

void muon_momentum_cuda(const KernelArgs& args, Stream& stream) {
  const auto& in = args.inputs;
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    update<T, 2, 2>(stream, {&in[0], &in[3]}, {&args.outputs[0], &args.outputs[1]},
                    Momentum<T>{Scalar(in[1]), Scalar(in[2]), args.attrs->number("momentum"),
                                args.attrs->integer("nesterov", 1) != 0});
  });
}

}  // namespace troupe::cuda
