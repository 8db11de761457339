// exp, log, tanh, erf and friends on the vectors of simd.h. Internal to ops/cpu.
//
// For float: polynomials, within about 2 units in the last place, exact at +-inf, NaN and beyond the range.
// For double: the standard library, lane by lane, since float64 runs are the oracle, not the product.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "ops/cpu/simd.h"

namespace troupe::cpu::math {

using F32 = Vec<float>;
using F64 = Vec<double>;
using I32 = VecMask<float>;
using I64 = VecMask<double>;

inline I32 bits(F32 x) { return reinterpret_cast<I32>(x); }
inline I64 bits(F64 x) { return reinterpret_cast<I64>(x); }

inline F32 abs(F32 x) { return reinterpret_cast<F32>(bits(x) & 0x7fffffff); }
inline F64 abs(F64 x) { return reinterpret_cast<F64>(bits(x) & 0x7fffffffffffffff); }

// The magnitude of x with the sign of y; x must not be negative.
inline F32 with_sign(F32 x, F32 y) { return reinterpret_cast<F32>(bits(x) | (bits(y) & (-0x7fffffff - 1))); }
inline F64 with_sign(F64 x, F64 y) {
  return reinterpret_cast<F64>(bits(x) | (bits(y) & std::numeric_limits<int64_t>::min()));
}

// NaN if either is.
template <typename V>
inline V max(V a, V b) {
  return (a > b) | (a != a) ? a : b;
}
template <typename V>
inline V min(V a, V b) {
  return (a < b) | (a != a) ? a : b;
}

inline F32 sqrt(F32 x) {
#ifdef __AVX512F__
  return reinterpret_cast<F32>(_mm512_maskz_sqrt_ps(-1, reinterpret_cast<__m512>(x)));
#else
  for (int i = 0; i < 16; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}
inline F64 sqrt(F64 x) {
#ifdef __AVX512F__
  return reinterpret_cast<F64>(_mm512_maskz_sqrt_pd(-1, reinterpret_cast<__m512d>(x)));
#else
  for (int i = 0; i < 8; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

// x 2^n for whole n, with overflow and gradual underflow rounded once.
inline F32 scale_by_power(F32 x, F32 n) {
#ifdef __AVX512F__
  return reinterpret_cast<F32>(_mm512_maskz_scalef_ps(-1, reinterpret_cast<__m512>(x), reinterpret_cast<__m512>(n)));
#else
  const I32 whole = __builtin_convertvector(n, I32);
  const I32 half = whole >> 1;
  return x * reinterpret_cast<F32>((half + 127) << 23) * reinterpret_cast<F32>((whole - half + 127) << 23);
#endif
}

// exp(x) = 2^n exp(r) with |r| <= ln 2 / 2; the polynomial is Cephes' (Moshier).
inline F32 exp(F32 x) {
  x = x > 89.0f ? splat(89.0f) : x;
  // What rounds to 0 is selected rather than computed: a result below the normal range costs some hundred
  // cycles, and masked scores of -inf are common.
  const I32 vanishes = x < -103.98f;
  x = vanishes ? splat(0.0f) : x;
  // Adding and taking away 1.5 * 2^23 rounds to a whole number.
  const F32 n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  F32 r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  F32 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return vanishes ? splat(0.0f) : scale_by_power(p, n);
}
inline F64 exp(F64 x) {
  for (int i = 0; i < 8; ++i) x[i] = std::exp(x[i]);
  return x;
}

// log(x) = e ln 2 + log(m) with m in [sqrt(1/2), sqrt 2); Cephes' polynomial.
inline F32 log(F32 x) {
  const float infinity = std::numeric_limits<float>::infinity();
  const I32 tiny = x < 1.17549435e-38f;
  const F32 scaled = tiny ? x * 8388608.0f : x;
  const I32 shifted = bits(scaled) - 0x3f3504f3;  // sqrt(1/2): the exponent field then counts from there
  const I32 exponent = shifted >> 23;
  const F32 m = reinterpret_cast<F32>((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
  const F32 e = __builtin_convertvector(exponent, F32) - (tiny ? splat(23.0f) : splat(0.0f));
  const F32 z = m * m;
  F32 p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  F32 y = p * m * z;
  y = y - e * 2.12194440e-4f;
  y = y - z * 0.5f;
  F32 result = m + y;
  result = result + e * 0.693359375f;
  result = x == infinity ? x : result;
  result = x == 0.0f ? splat(-infinity) : result;
  return (x < 0.0f) | (x != x) ? splat(std::numeric_limits<float>::quiet_NaN()) : result;
}
inline F64 log(F64 x) {
  for (int i = 0; i < 8; ++i) x[i] = std::log(x[i]);
  return x;
}

// log(1 + x) for x > -1, without losing a small x (Kahan): what 1 + x rounds off is made good by the quotient.
template <typename V>
inline V log1p(V x) {
  const V sum = 1 + x;
  return sum == 1 ? x : log(sum) * (x / (sum - 1));
}

// Near 0 an odd polynomial (Cephes), elsewhere 1 - 2 / (exp(2|x|) + 1).
inline F32 tanh(F32 x) {
  const F32 a = abs(x);
  const F32 z = x * x;
  F32 p = z * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const F32 near = p * z * x + x;
  const F32 far = with_sign(1.0f - 2.0f / (exp(a + a) + 1.0f), x);
  return a > 0.625f ? far : near;
}
inline F64 tanh(F64 x) {
  for (int i = 0; i < 8; ++i) x[i] = std::tanh(x[i]);
  return x;
}

// |x| <= 475/512: an odd polynomial; beyond: 1 - exp(polynomial) (minimax fits by N. Juffa).
inline F32 erf(F32 x) {
  const F32 t = abs(x);
  const F32 s = x * x;
  F32 r = t * -1.72853470e-5f + 3.83197126e-4f;
  const F32 u = t * -3.88396438e-3f + 2.42546219e-2f;
  r = r * s + u;
  r = r * t - 1.06777877e-1f;
  r = r * t - 6.34846687e-1f;
  r = r * t - 1.28717512e-1f;
  r = r * t - t;
  const F32 far = with_sign(1.0f - exp(r), x);
  F32 q = s * -5.96761703e-4f + 4.99119423e-3f;
  q = q * s - 2.67681349e-2f;
  q = q * s + 1.12819925e-1f;
  q = q * s - 3.76125336e-1f;
  q = q * s + 1.28379166e-1f;
  const F32 near = q * x + x;
  return t > 0.927734375f ? far : near;
}
inline F64 erf(F64 x) {
  for (int i = 0; i < 8; ++i) x[i] = std::erf(x[i]);
  return x;
}

inline F32 sigmoid(F32 x) { return 1.0f / (1.0f + exp(-x)); }
inline F64 sigmoid(F64 x) { return 1.0 / (1.0 + exp(-x)); }

// Phi(x), the normal distribution function.
inline F32 normal_cdf(F32 x) { return 0.5f + 0.5f * erf(x * 0.707106781f); }
inline F64 normal_cdf(F64 x) {
  for (int i = 0; i < 8; ++i) x[i] = 0.5 * std::erfc(x[i] * -0.70710678118654752440);
  return x;
}

// A function of the standard library, lane by lane, for what is not worth a polynomial.
template <typename V, typename F>
inline V each_lane(V x, F f) {
  for (size_t i = 0; i < sizeof(V) / sizeof(x[0]); ++i) x[i] = f(x[i]);
  return x;
}

}  // namespace troupe::cpu::math
