// Functions of one tensor, element by element.

#include "ops/cuda/kernels.h"
#include "ops/cuda/map.h"

namespace troupe::cuda {
namespace {

// y = f(x), with F::of for f.
template <class F>
struct OfOne {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = F::of(in[0]);
  }
};

struct Exp {
  template <class C>
  static __device__ C of(C x) {
    return exp(x);
  }
};
struct Log {
  template <class C>
  static __device__ C of(C x) {
    return log(x);
  }
};
struct Softplus {
  template <class C>
  static __device__ C of(C x) {
    return (x < C(0) ? C(0) : x) + log1p(exp(-fabs(x)));  // exp of what is never above 0 does not overflow
  }
};
struct Sqrt {
  template <class C>
  static __device__ C of(C x) {
    return sqrt(x);
  }
};
struct Rsqrt {
  template <class C>
  static __device__ C of(C x) {
    return C(1) / sqrt(x);
  }
};
struct Neg {
  template <class C>
  static __device__ C of(C x) {
    return -x;
  }
};
struct Abs {
  template <class C>
  static __device__ C of(C x) {
    return fabs(x);
  }
};
struct Sign {
  template <class C>
  static __device__ C of(C x) {
    return x > C(0) ? C(1) : x < C(0) ? C(-1) : x;
  }
};
struct Cos {
  template <class C>
  static __device__ C of(C x) {
    return cos(x);
  }
};
struct Sin {
  template <class C>
  static __device__ C of(C x) {
    return sin(x);
  }
};
struct Square {
  template <class C>
  static __device__ C of(C x) {
    return x * x;
  }
};

template <class F>
void unary(const KernelArgs& args, Stream& stream) {
  const TensorView* const in[] = {&args.inputs[0]};
  const TensorView* const out[] = {&args.outputs[0]};
  with_float(args.outputs[0].dtype, [&](auto zero) { map<decltype(zero), 1, 1>(stream, in, out, OfOne<F>{}); });
}

}  // namespace

void exp_cuda(const KernelArgs& args, Stream& stream) { unary<Exp>(args, stream); }
void log_cuda(const KernelArgs& args, Stream& stream) { unary<Log>(args, stream); }
void softplus_cuda(const KernelArgs& args, Stream& stream) { unary<Softplus>(args, stream); }
void sqrt_cuda(const KernelArgs& args, Stream& stream) { unary<Sqrt>(args, stream); }
void rsqrt_cuda(const KernelArgs& args, Stream& stream) { unary<Rsqrt>(args, stream); }
void neg_cuda(const KernelArgs& args, Stream& stream) { unary<Neg>(args, stream); }
void abs_cuda(const KernelArgs& args, Stream& stream) { unary<Abs>(args, stream); }
void sign_cuda(const KernelArgs& args, Stream& stream) { unary<Sign>(args, stream); }
void cos_cuda(const KernelArgs& args, Stream& stream) { unary<Cos>(args, stream); }
void sin_cuda(const KernelArgs& args, Stream& stream) { unary<Sin>(args, stream); }
void square_cuda(const KernelArgs& args, Stream& stream) { unary<Square>(args, stream); }

}  // namespace troupe::cuda
