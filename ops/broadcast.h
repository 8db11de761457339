// Elements of two operands that broadcast against each other, for kernels.
#pragma once

#include "ops/cpu/pointwise.h"
#include "runtime/base/shape.h"

namespace troupe {

// Strides in elements with which an operand of `operand` is read as one of `shape`: 0 along dims that broadcast.
inline Dims strides_in(const Shape& operand, const Shape& shape) {
  Dims strides = Dims::filled(shape.rank(), 0);
  if (shape.rank() > 0) {
    cpu::broadcast_strides(&strides[0], operand.begin(), operand.rank(), shape.begin(), shape.rank());
  }
  return strides;
}

// out[i] = f(a[i], b[i]) over the elements of `shape`, in order. For integers: ops/cpu has the float forms.
template <class T, class Fn>
void map_broadcast(T* out, const T* a, const Shape& a_shape, const T* b, const Shape& b_shape, const Shape& shape,
                   Fn f) {
  const Dims a_strides = strides_in(a_shape, shape);
  const Dims b_strides = strides_in(b_shape, shape);
  Dims index = Dims::filled(shape.rank(), 0);
  const int64_t n = shape.elements();
  for (int64_t i = 0, at_a = 0, at_b = 0; i < n; ++i) {
    out[i] = f(a[at_a], b[at_b]);
    for (int d = shape.rank() - 1; d >= 0; --d) {
      at_a += a_strides[d];
      at_b += b_strides[d];
      if (++index[d] < shape[d]) break;
      at_a -= a_strides[d] * shape[d];
      at_b -= b_strides[d] * shape[d];
      index[d] = 0;
    }
  }
}

}  // namespace troupe
