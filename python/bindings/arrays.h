// NumPy arrays on the way in and out.
#pragma once

#include <nanobind/ndarray.h>

#include <cstring>
#include <memory>
#include <span>

#include "python/bindings/bindings.h"
#include "runtime/base/error.h"

namespace troupe::python {

using InputArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

inline nb::dlpack::dtype dlpack_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return nb::dtype<float>();
    case DType::f64:
      return nb::dtype<double>();
    case DType::i32:
      return nb::dtype<int32_t>();
    case DType::i64:
      return nb::dtype<int64_t>();
    case DType::u8:
      return nb::dtype<uint8_t>();
    case DType::b8:
      return nb::dtype<bool>();
    case DType::bf16:
      return {static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1};
    case DType::f16:
      return {static_cast<uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
  }
  return nb::dtype<float>();
}

inline DType dtype_of_array(const InputArray& array) {
  for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::b8, DType::f16}) {
    if (array.dtype() == dlpack_of(dtype)) return dtype;
  }
  throw PlanError("an array's element type is none that tensors have: f32, f64, i32, i64, u8, bool, f16 are possible");
}

inline Shape shape_of_array(const InputArray& array) {
  Shape shape;
  for (size_t d = 0; d < array.ndim(); ++d) shape.push_back(static_cast<int64_t>(array.shape(d)));
  return shape;
}

inline std::span<const std::byte> bytes_of(const InputArray& array) {
  return {static_cast<const std::byte*>(array.data()), array.nbytes()};
}

// A new array with memory of its own, which `fill` writes.
template <class Fill>
nb::object new_array(DType dtype, const Shape& shape, Fill&& fill) {
  const size_t bytes = static_cast<size_t>(shape.elements() * size_of(dtype));
  std::unique_ptr<std::byte[]> data(new std::byte[bytes + 1]);
  fill(std::span<std::byte>(data.get(), bytes));
  std::byte* raw = data.release();
  const nb::capsule owner(raw, [](void* p) noexcept { delete[] static_cast<std::byte*>(p); });
  size_t sizes[kMaxRank];
  for (int d = 0; d < shape.rank(); ++d) sizes[d] = static_cast<size_t>(shape[d]);
  return nb::cast(
      nb::ndarray<nb::numpy>(raw, static_cast<size_t>(shape.rank()), sizes, owner, nullptr, dlpack_of(dtype)));
}

}  // namespace troupe::python
