// Softmax and log-softmax over one dim: y = exp(x - max) / sum exp(x - max), and x - max - log sum exp(x -
// max).
//
// T: float, double. Sums are carried in double in a fixed order. `y` may be `x`; `dx` may be `dy`. A row that
// is -inf everywhere gives NaN, as in PyTorch. All functions are re-entrant.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// Over the last dim of x[rows,n].
template <typename T>
void softmax_forward(T* y, const T* x, int64_t rows, int64_t n);
// dx = y (dy - sum(dy y)).
template <typename T>
void softmax_backward(T* dx, const T* dy, const T* y, int64_t rows, int64_t n);
template <typename T>
void log_softmax_forward(T* y, const T* x, int64_t rows, int64_t n);
// dx = dy - exp(y) sum(dy).
template <typename T>
void log_softmax_backward(T* dx, const T* dy, const T* y, int64_t rows, int64_t n);

// Over the middle dim of x[outer,n,inner].
template <typename T>
void softmax_forward_strided(T* y, const T* x, int64_t outer, int64_t n, int64_t inner);
template <typename T>
void softmax_backward_strided(T* dx, const T* dy, const T* y, int64_t outer, int64_t n, int64_t inner);
template <typename T>
void log_softmax_forward_strided(T* y, const T* x, int64_t outer, int64_t n, int64_t inner);
template <typename T>
void log_softmax_backward_strided(T* dx, const T* dy, const T* y, int64_t outer, int64_t n, int64_t inner);

}  // namespace troupe::cpu
