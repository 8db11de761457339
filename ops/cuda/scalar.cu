// One operand and the attribute `value`.

#include "ops/cuda/kernels.h"
#include "ops/cuda/map.h"

namespace troupe::cuda {
namespace {

struct Add {
  template <class C>
  static __device__ C of(C x, C value) {
    return x + value;
  }
};
struct Mul {
  template <class C>
  static __device__ C of(C x, C value) {
    return x * value;
  }
};
struct ValueMinus {
  template <class C>
  static __device__ C of(C x, C value) {
    return value - x;
  }
};
struct ValueOver {
  template <class C>
  static __device__ C of(C x, C value) {
    return value / x;
  }
};
struct Pow {
  template <class C>
  static __device__ C of(C x, C value) {
    return pow(x, value);
  }
};
// The commonest power, for which `pow` would take ten times the instructions.
struct PowTwo {
  template <class C>
  static __device__ C of(C x, C) {
    return x * x;
  }
};
struct Smaller {
  template <class C>
  static __device__ C of(C x, C value) {
    return smaller(x, value);
  }
};
struct Larger {
  template <class C>
  static __device__ C of(C x, C value) {
    return larger(x, value);
  }
};

template <class F>
struct WithValue {
  double value;
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = F::of(in[0], static_cast<C>(value));
  }
};

template <class F>
void with_value(const KernelArgs& args, Stream& stream) {
  map_floats<1, 1>(args, stream, WithValue<F>{args.attrs->number("value")});
}

}  // namespace

void add_scalar_cuda(const KernelArgs& args, Stream& stream) { with_value<Add>(args, stream); }
void mul_scalar_cuda(const KernelArgs& args, Stream& stream) { with_value<Mul>(args, stream); }
void rsub_scalar_cuda(const KernelArgs& args, Stream& stream) { with_value<ValueMinus>(args, stream); }
void rdiv_scalar_cuda(const KernelArgs& args, Stream& stream) { with_value<ValueOver>(args, stream); }
void pow_scalar_cuda(const KernelArgs& args, Stream& stream) {
  args.attrs->number("value") == 2 ? with_value<PowTwo>(args, stream) : with_value<Pow>(args, stream);
}
void minimum_scalar_cuda(const KernelArgs& args, Stream& stream) { with_value<Smaller>(args, stream); }
void maximum_scalar_cuda(const KernelArgs& args, Stream& stream) { with_value<Larger>(args, stream); }

}  // namespace troupe::cuda
