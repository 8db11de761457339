// Element types of tensors.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/base/bfloat16.h"
#include "runtime/base/float16.h"

namespace troupe {

enum class DType : uint8_t { f32, f64, i32, i64, u8, b8, bf16, f16 };
constexpr DType kLastDType = DType::f16;

// Bytes per element. `b8` is a boolean that takes one byte (0 or 1).
constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
    case DType::b8:
      return 1;
  }
  return 0;
}

// The floats of two bytes: stored so, computed with in float32.
constexpr bool is_low(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }
constexpr bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f64 || is_low(dtype); }
constexpr bool is_integer(DType dtype) { return dtype == DType::i32 || dtype == DType::i64 || dtype == DType::u8; }

// "f32", "f64", "i32", "i64", "u8", "bool", "bf16", "f16".
std::string_view name_of(DType dtype);

// The inverse of name_of; throws PlanError for an unknown name and lists the known ones.
DType dtype_from_name(std::string_view name);

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<BFloat16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<Float16>() {
  return DType::f16;
}

// The C++ types of the dtypes that is_low holds for.
template <class T>
concept LowFloat = std::same_as<T, BFloat16> || std::same_as<T, Float16>;

}  // namespace troupe
