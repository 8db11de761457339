// Tensors that differ along one dim, and copies of what lies between two places of it.
#pragma once

#include "ops/op.h"

namespace troupe {

Shape with_size(const Shape& shape, int dim, int64_t size);

// Copies a box that is all of every dim but `dim`, and there goes from `from_start` of one tensor to `to_start` of the
// other.
void copy_along(const TensorView& to, int64_t to_start, const TensorView& from, int64_t from_start, int dim,
                int64_t size);

}  // namespace troupe
