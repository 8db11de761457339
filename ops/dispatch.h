// From a dtype that is known at run time to the type of a kernel's template.
#pragma once

#include <cstring>

#include "runtime/base/check.h"
#include "runtime/device/kernel.h"

namespace troupe {

// Each calls fn with a zero of the C++ type; `infer` has refused every other dtype.
template <class Fn>
void with_float(DType dtype, Fn&& fn) {
  if (dtype == DType::f32) return fn(float{});
  CHECK(dtype == DType::f64, name_of(dtype));
  fn(double{});
}

// bf16, f16.
template <class Fn>
void with_low(DType dtype, Fn&& fn) {
  if (dtype == DType::bf16) return fn(BFloat16{});
  CHECK(dtype == DType::f16, name_of(dtype));
  fn(Float16{});
}

// f32, f64, bf16, f16.
template <class Fn>
void with_any_float(DType dtype, Fn&& fn) {
  if (is_low(dtype)) return with_low(dtype, fn);
  with_float(dtype, fn);
}

template <class Fn>
void with_id(DType dtype, Fn&& fn) {
  if (dtype == DType::i32) return fn(int32_t{});
  CHECK(dtype == DType::i64, name_of(dtype));
  fn(int64_t{});
}

// f32, f64, i32, i64.
template <class Fn>
void with_number(DType dtype, Fn&& fn) {
  if (dtype == DType::i32 || dtype == DType::i64) return with_id(dtype, fn);
  with_float(dtype, fn);
}

// Every dtype; u8 and b8 are both uint8_t.
template <class Fn>
void with_any(DType dtype, Fn&& fn) {
  if (size_of(dtype) == 1) return fn(uint8_t{});
  if (is_low(dtype)) return with_low(dtype, fn);
  with_number(dtype, fn);
}

// The output becomes the input's elements; nothing to do where it has the input's memory.
inline void copy_unless_in_place(const TensorView& out, const TensorView& in) {
  if (out.data != in.data && out.bytes() > 0) std::memcpy(out.data, in.data, static_cast<size_t>(out.bytes()));
}

}  // namespace troupe
