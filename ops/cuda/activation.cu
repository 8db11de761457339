// The non-linear functions between layers, and their derivatives in one pass. The definitions are those of
// ops/cpu/pointwise.h.

#include "ops/cuda/kernels.h"
#include "ops/cuda/map.h"

namespace troupe::cuda {
namespace {

template <class C>
__device__ __forceinline__ C sigmoid_of(C x) {
  return C(1) / (C(1) + exp(-x));
}

// The normal distribution's probability of less than x.
template <class C>
__device__ __forceinline__ C normal_cdf(C x) {
  return C(0.5) * erfc(x * C(-0.70710678118654752440));
}

// d/dx of x Phi(x).
template <class C>
__device__ __forceinline__ C gelu_slope(C x) {
  // The density is 0 long before x^2 overflows; without the test inf * 0 would give NaN.
  const C bell = fabs(x) > C(1e4) ? C(0) : x * exp(C(-0.5) * x * x) * C(0.39894228040143267794);
  return normal_cdf(x) + bell;
}

constexpr double kTanhScale = 1.59576912160573071176;  // 2 sqrt(2 / pi)
constexpr double kTanhCubic = 0.044715;

// x/2 (1 + tanh(u)) = x sigmoid(2u).
template <class C>
__device__ __forceinline__ C gelu_tanh_gate(C x) {
  return sigmoid_of(x * (x * x * C(kTanhCubic) + C(1)) * C(kTanhScale));
}

template <class C>
__device__ __forceinline__ C gelu_tanh_slope(C x) {
  const C s = gelu_tanh_gate(x);
  const C curve = s * (C(1) - s);
  const C inner = x * (x * x * C(3 * kTanhCubic) + C(1)) * C(kTanhScale);
  return s + (curve == C(0) ? C(0) : inner * curve);
}

template <class C>
__device__ __forceinline__ C silu_slope(C x) {
  const C s = sigmoid_of(x);
  return s * (C(1) + x * (C(1) - s));
}

// Forms for `map`: a function of x, or of what is saved (in[0]) and dy (in[1]).
struct Gelu {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[0] * normal_cdf(in[0]);
  }
};
struct GeluTanh {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[0] * gelu_tanh_gate(in[0]);
  }
};
struct GeluGradient {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[1] * gelu_slope(in[0]);
  }
};
struct GeluTanhGradient {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[1] * gelu_tanh_slope(in[0]);
  }
};
struct Relu {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[0] < C(0) ? C(0) : in[0];
  }
};
struct ReluGradient {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[0] > C(0) ? in[1] : C(0);
  }
};
struct Tanh {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = tanh(in[0]);
  }
};
struct TanhGradient {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[1] * (C(1) - in[0] * in[0]);
  }
};
struct Sigmoid {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = sigmoid_of(in[0]);
  }
};
struct SigmoidGradient {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[1] * in[0] * (C(1) - in[0]);
  }
};
struct Silu {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[0] * sigmoid_of(in[0]);
  }
};
struct SiluGradient {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[1] * silu_slope(in[0]);
  }
};
struct Swiglu {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    out[0] = in[0] * sigmoid_of(in[0]) * in[1];
  }
};
struct SwigluGradient {
  template <class C>
  __device__ void operator()(const C* in, C* out) const {
    const C gate = in[0], up = in[1], dy = in[2];
    const C s = sigmoid_of(gate);
    out[0] = dy * up * (s * (C(1) + gate * (C(1) - s)));
    out[1] = dy * (gate * s);
  }
};

bool approximate(const KernelArgs& args) { return args.attrs->integer("approximate", 0) != 0; }

}  // namespace

void gelu_cuda(const KernelArgs& args, Stream& stream) {
  approximate(args) ? map_floats<1, 1>(args, stream, GeluTanh{}) : map_floats<1, 1>(args, stream, Gelu{});
}
void gelu_gradient_cuda(const KernelArgs& args, Stream& stream) {
  approximate(args) ? map_floats<2, 1>(args, stream, GeluTanhGradient{})
                    : map_floats<2, 1>(args, stream, GeluGradient{});
}
void relu_cuda(const KernelArgs& args, Stream& stream) { map_floats<1, 1>(args, stream, Relu{}); }
void relu_gradient_cuda(const KernelArgs& args, Stream& stream) { map_floats<2, 1>(args, stream, ReluGradient{}); }
void tanh_cuda(const KernelArgs& args, Stream& stream) { map_floats<1, 1>(args, stream, Tanh{}); }
void tanh_gradient_cuda(const KernelArgs& args, Stream& stream) { map_floats<2, 1>(args, stream, TanhGradient{}); }
void sigmoid_cuda(const KernelArgs& args, Stream& stream) { map_floats<1, 1>(args, stream, Sigmoid{}); }
void sigmoid_gradient_cuda(const KernelArgs& args, Stream& stream) {
  map_floats<2, 1>(args, stream, SigmoidGradient{});
}
void silu_cuda(const KernelArgs& args, Stream& stream) { map_floats<1, 1>(args, stream, Silu{}); }
void silu_gradient_cuda(const KernelArgs& args, Stream& stream) { map_floats<2, 1>(args, stream, SiluGradient{}); }
void swiglu_cuda(const KernelArgs& args, Stream& stream) { map_floats<2, 1>(args, stream, Swiglu{}); }
void swiglu_gradient_cuda(const KernelArgs& args, Stream& stream) { map_floats<3, 2>(args, stream, SwigluGradient{}); }

}  // namespace troupe::cuda
