// The numbers that kernels store and those that they compute with: bfloat16 and float16 are computed with in float32 and
// rounded once, where they are stored.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "ops/cuda/device.h"
#include "runtime/base/check.h"
#include "runtime/base/dtype.h"

namespace troupe::cuda {

template <class T>
struct ComputeOf {
  using type = T;
};
template <>
struct ComputeOf<__nv_bfloat16> {
  using type = float;
};
template <>
struct ComputeOf<__half> {
  using type = float;
};
template <class T>
using Compute = typename ComputeOf<T>::type;

template <class T>
constexpr bool kIsLow = !std::is_same_v<T, Compute<T>>;
template <class T>
constexpr bool kIsFloat = std::is_floating_point_v<Compute<T>>;

template <class T>
__device__ __forceinline__ Compute<T> widened(T x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __bfloat162float(x);
  } else if constexpr (std::is_same_v<T, __half>) {
    return __half2float(x);
  } else {
    return x;
  }
}

template <class T>
__device__ __forceinline__ T narrowed(Compute<T> x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(x);
  } else {
    return x;
  }
}

template <class C>
__device__ __forceinline__ C infinity() {
  return static_cast<C>(HUGE_VAL);
}

// NaN where one of them is.
template <class C>
__device__ __forceinline__ C larger(C a, C b) {
  return a > b || a != a ? a : b;
}
template <class C>
__device__ __forceinline__ C smaller(C a, C b) {
  return a < b || a != a ? a : b;
}

// ---- From a dtype that is known at run time to the type of a kernel's template ----
//
// Each calls fn with a zero of the type; the op's infer has refused every other dtype.

template <class Fn>
void with_float(DType dtype, Fn&& fn) {
  if (dtype == DType::f32) return fn(float{});
  CHECK(dtype == DType::f64, name_of(dtype));
  fn(double{});
}

template <class Fn>
void with_any_float(DType dtype, Fn&& fn) {
  if (dtype == DType::bf16) return fn(__nv_bfloat16{});
  if (dtype == DType::f16) return fn(__half{});
  with_float(dtype, fn);
}

template <class Fn>
void with_id(DType dtype, Fn&& fn) {
  if (dtype == DType::i32) return fn(int32_t{});
  CHECK(dtype == DType::i64, name_of(dtype));
  fn(int64_t{});
}

// Floats and ids.
template <class Fn>
void with_number(DType dtype, Fn&& fn) {
  if (dtype == DType::i32 || dtype == DType::i64) return with_id(dtype, fn);
  with_any_float(dtype, fn);
}

// u8 and b8 are both uint8_t.
template <class Fn>
void with_any(DType dtype, Fn&& fn) {
  if (size_of(dtype) == 1) return fn(uint8_t{});
  with_number(dtype, fn);
}

}  // namespace troupe::cuda
