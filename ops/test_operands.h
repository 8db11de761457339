// For tests: short names for the operands and attributes of use cases.
#pragma once

#include <vector>

#include "ops/test_use_cases.h"

namespace troupe {

inline Operand real(Shape shape) { return {{.shape = shape}}; }
inline Operand between(Shape shape, double low, double high) { return {{.shape = shape, .low = low, .high = high}}; }
inline Operand positive(Shape shape) { return between(shape, 0.5, 2); }
inline Operand nonzero(Shape shape) { return {{.shape = shape, .low = -2, .high = 2, .least = 0.3}}; }
inline Operand ids(Shape shape, int64_t below, DType dtype = DType::i64) {
  return {{.shape = shape, .integers_below = below}, dtype};
}
// A use in which more signatures hold than in a proper one: no dims, nothing to reduce, a single summand.
inline UseCase corner(UseCase use) {
  use.is_corner = true;
  return use;
}
inline Operand bools(Shape shape) { return ids(shape, 2, DType::b8); }

using Ints = std::vector<int64_t>;
inline constexpr int64_t no = 0;
inline constexpr int64_t yes = 1;

// image_use_cases_test.cpp
void add_image_use_cases(std::vector<UseCase>& cases);

}  // namespace troupe
