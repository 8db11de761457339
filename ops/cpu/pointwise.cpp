#include "ops/cpu/pointwise.h"

#include <cmath>

#include "ops/cpu/vector_math.h"

namespace troupe::cpu {
namespace {

template <typename T>
inline constexpr T kTanhScale = T(0.79788456080286535588);  // sqrt(2 / pi)
template <typename T>
inline constexpr T kTanhCubic = T(0.044715);

// exp(-x^2 / 2) / sqrt(2 pi).
template <typename T>
inline Vec<T> normal_density(Vec<T> x) {
  return math::exp(x * x * T(-0.5)) * T(0.39894228040143267794);
}

// d/dx of x Phi(x).
template <typename T>
inline Vec<T> gelu_slope(Vec<T> x) {
  // The density is 0 long before x^2 overflows; without the test inf * 0 would give NaN.
  const Vec<T> bell = x * normal_density<T>(x);
  return math::normal_cdf(x) + (math::abs(x) > T(1e4) ? Vec<T>{} : bell);
}

// x/2 (1 + tanh(u)) = x sigmoid(2u).
template <typename T>
inline Vec<T> gelu_tanh_gate(Vec<T> x) {
  return math::sigmoid(x * (x * x * kTanhCubic<T> + T(1)) * (T(2) * kTanhScale<T>));
}

template <typename T>
inline Vec<T> gelu_tanh_slope(Vec<T> x) {
  const Vec<T> s = gelu_tanh_gate<T>(x);
  const Vec<T> inner = x * (x * x * (T(3) * kTanhCubic<T>)+T(1)) * (T(2) * kTanhScale<T>);
  const Vec<T> curve = s * (T(1) - s);
  return s + (curve == T(0) ? Vec<T>{} : inner * curve);
}

template <typename T>
inline Vec<T> sign_of(Vec<T> x) {
  const Vec<T> one = splat(T(1));
  return x > T(0) ? one : x < T(0) ? -one : x;
}

}  // namespace

template <typename T>
void neg(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return -v; }, x);
}

template <typename T>
void abs(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::abs(v); }, x);
}

template <typename T>
void square(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return v * v; }, x);
}

template <typename T>
void sqrt(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::sqrt(v); }, x);
}

template <typename T>
void rsqrt(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return T(1) / math::sqrt(v); }, x);
}

template <typename T>
void reciprocal(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return T(1) / v; }, x);
}

template <typename T>
void exp(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::exp(v); }, x);
}

template <typename T>
void log(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::log(v); }, x);
}

template <typename T>
void sin(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::each_lane(v, [](T y) { return std::sin(y); }); }, x);
}

template <typename T>
void cos(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::each_lane(v, [](T y) { return std::cos(y); }); }, x);
}

template <typename T>
void erf(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::erf(v); }, x);
}

template <typename T>
void tanh(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::tanh(v); }, x);
}

template <typename T>
void sigmoid(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return math::sigmoid(v); }, x);
}

template <typename T>
void softplus(T* out, const T* x, int64_t n) {
  // exp of what is never above 0 does not overflow.
  map(n, out, [](Vec<T> v) { return (v < T(0) ? Vec<T>{} : v) + math::log1p(math::exp(-math::abs(v))); }, x);
}

template <typename T>
void silu(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return v * math::sigmoid(v); }, x);
}

template <typename T>
void relu(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return v < T(0) ? Vec<T>{} : v; }, x);
}

template <typename T>
void sign(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return sign_of<T>(v); }, x);
}

template <typename T>
void gelu(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return v * math::normal_cdf(v); }, x);
}

template <typename T>
void gelu_tanh(T* out, const T* x, int64_t n) {
  map(n, out, [](Vec<T> v) { return v * gelu_tanh_gate<T>(v); }, x);
}

template <typename T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return v > T(0) ? d : Vec<T>{}; }, dy, y);
}

template <typename T>
void tanh_backward(T* dx, const T* dy, const T* y, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return d * (T(1) - v * v); }, dy, y);
}

template <typename T>
void sigmoid_backward(T* dx, const T* dy, const T* y, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return d * v * (T(1) - v); }, dy, y);
}

template <typename T>
void silu_backward(T* dx, const T* dy, const T* x, int64_t n) {
  map(
      n, dx,
      [](Vec<T> d, Vec<T> v) {
        const Vec<T> s = math::sigmoid(v);
        return d * s * (T(1) + v * (T(1) - s));
      },
      dy, x);
}

template <typename T>
void gelu_backward(T* dx, const T* dy, const T* x, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return d * gelu_slope<T>(v); }, dy, x);
}

template <typename T>
void gelu_tanh_backward(T* dx, const T* dy, const T* x, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return d * gelu_tanh_slope<T>(v); }, dy, x);
}

template <typename T>
void sqrt_backward(T* dx, const T* dy, const T* y, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return d / (v + v); }, dy, y);
}

template <typename T>
void rsqrt_backward(T* dx, const T* dy, const T* y, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return d * (v * v * v) * T(-0.5); }, dy, y);
}

template <typename T>
void abs_backward(T* dx, const T* dy, const T* x, int64_t n) {
  map(n, dx, [](Vec<T> d, Vec<T> v) { return d * sign_of<T>(v); }, dy, x);
}

template <typename T>
void add_in_place(T* accumulator, const T* x, int64_t n) {
  map(n, accumulator, [](Vec<T> a, Vec<T> b) { return a + b; }, accumulator, x);
}

template <typename T>
void add_to(T* out, const T* a, const T* b, int64_t n) {
  map(n, out, [](Vec<T> u, Vec<T> v) { return u + v; }, a, b);
}

template <typename T>
void add_scaled(T* accumulator, T scale, const T* x, int64_t n) {
  map(n, accumulator, [scale](Vec<T> a, Vec<T> b) { return a + scale * b; }, accumulator, x);
}

template <typename T>
void scale_to(T* out, T scale, const T* x, int64_t n) {
  map(n, out, [scale](Vec<T> v) { return scale * v; }, x);
}

template <typename T>
bool any_nonfinite(const T* x, int64_t n) {
  // x - x is NaN exactly where x is not finite, and NaN stays in the sum; one test per chunk lets a bad
  // tensor stop early.
  for (int64_t begin = 0; begin < n; begin += 4096) {
    const int64_t end = begin + 4096 < n ? begin + 4096 : n;
    Vec<T> seen{};
    int64_t i = begin;
    for (; i + kLanes<T> <= end; i += kLanes<T>) {
      const Vec<T> v = load(x + i);
      seen += v - v;
    }
    if (i < end) {
      const Vec<T> v = load_part(x + i, end - i);
      seen += v - v;
    }
    const T all = lanes_sum<T>(seen);
    if (all != all) return true;
  }
  return false;
}

template <typename T>
void bias_gelu(T* out, T* pre, const T* x, const T* bias, int64_t m, int64_t n) {
  for (int64_t row = 0; row < m; ++row) {
    const T* from = x + row * n;
    T* to = pre != nullptr ? pre + row * n : nullptr;
    if (to != nullptr) {
      for (int64_t i = 0; i < n; i += kLanes<T>) {
        const int64_t count = n - i < kLanes<T> ? n - i : kLanes<T>;
        const bool full = count == kLanes<T>;
        const Vec<T> v =
            full ? load(from + i) + load(bias + i) : load_part(from + i, count) + load_part(bias + i, count);
        const Vec<T> y = v * math::normal_cdf(v);
        full ? store(to + i, v) : store_part(to + i, v, count);
        full ? store(out + row * n + i, y) : store_part(out + row * n + i, y, count);
      }
    } else {
      map(n, out + row * n, [](Vec<T> u, Vec<T> b) { return (u + b) * math::normal_cdf(u + b); }, from, bias);
    }
  }
}

// Explicit instantiations for float and double, one line per signature.
template <typename T>
struct Instances {
  static constexpr void (*one_input[])(T*, const T*, int64_t) = {
      neg<T>,  abs<T>,  square<T>, sqrt<T>, rsqrt<T>,     reciprocal<T>,  exp<T>,
      log<T>,  sin<T>,  cos<T>,    erf<T>,  tanh<T>,      sigmoid<T>,     softplus<T>,
      silu<T>, relu<T>, sign<T>,   gelu<T>, gelu_tanh<T>, add_in_place<T>};
  static constexpr void (*two_inputs[])(T*, const T*, const T*, int64_t) = {
      relu_backward<T>, tanh_backward<T>,      sigmoid_backward<T>, silu_backward<T>,  gelu_backward<T>,
      abs_backward<T>,  gelu_tanh_backward<T>, sqrt_backward<T>,    rsqrt_backward<T>, add_to<T>};
  static constexpr void (*scaled[])(T*, T, const T*, int64_t) = {add_scaled<T>, scale_to<T>};
  static constexpr bool (*check)(const T*, int64_t) = any_nonfinite<T>;
  static constexpr void (*fused)(T*, T*, const T*, const T*, int64_t, int64_t) = bias_gelu<T>;
};
template struct Instances<float>;
template struct Instances<double>;

}  // namespace troupe::cpu
