// Moving elements of any dtype.
#pragma once

#include "ops/cuda/launch.h"
#include "ops/cuda/walk.h"

namespace troupe::cuda {

// `shape` elements of `size` bytes each, from memory with these strides to memory with those; both in elements.
void copy_strided(void* to, const Dims& to_strides, const void* from, const Dims& from_strides, const Shape& shape,
                  int64_t size, Stream& stream);

// The output becomes the input's elements, row by row; nothing to do where it has the input's memory.
void copy(const TensorView& to, const TensorView& from, Stream& stream);

void fill_zero(const TensorView& view, Stream& stream);

}  // namespace troupe::cuda
