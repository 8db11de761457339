// Putting a logical tensor together from parts, and taking it apart.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/base/box.h"
#include "runtime/base/dtype.h"

namespace troupe {

// Copies between a row-major tensor of this shape and a contiguous part of it. Sizes must agree.
void put_part(std::span<std::byte> whole, const Shape& shape, DType dtype, const Box& box,
              std::span<const std::byte> part);
void take_part(std::span<const std::byte> whole, const Shape& shape, DType dtype, const Box& box,
               std::span<std::byte> part);

}  // namespace troupe
