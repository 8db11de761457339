// Rows of x[rows,n] brought to length 1.
//
// T: float, double. Sums are carried in double in a fixed order. norm is [rows]. All functions are re-entrant.
// Outputs do not overlap inputs, except y = x and dx = dy.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// norm = sqrt(sum x^2), y = x / max(norm, eps).
template <typename T>
void normalize_forward(T* y, T* norm, const T* x, int64_t rows, int64_t n, double eps);

// dx = (dy - y sum(y dy)) / norm; where norm < eps, which divides by a constant, dx = dy / eps.
template <typename T>
void normalize_backward(T* dx, const T* dy, const T* y, const T* norm, int64_t rows, int64_t n, double eps);

}  // namespace troupe::cpu
