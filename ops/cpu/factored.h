// What Adafactor (Shazeer and Stern 2018) computes from a gradient, with the semantics of torch.optim.Adafactor.
//
// T: float, double. Sums are carried in double, in an order that depends on the summed dim alone: a split of the others
// changes no bit. All functions are re-entrant.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// out[rows] = the sum of x[rows, n]^2 over n, divided by `count`.
template <typename T>
void mean_squares_of_rows(T* out, const T* x, int64_t rows, int64_t n, int64_t count);

// out[outer, inner] = the sum of x[outer, n, inner]^2 over n, divided by `count`.
template <typename T>
void mean_squares_of_columns(T* out, const T* x, int64_t outer, int64_t n, int64_t inner, int64_t count);

// mean[n] += weight (x[n] scale - mean[n]); with `square` x^2 in place of x.
template <typename T>
void moving_mean(T* mean, const T* x, int64_t n, bool square, double scale, double weight);

// out[n] = g scale / sqrt(max(v, eps^2)). `out` may be `g`.
template <typename T>
void adafactor_direction(T* out, const T* g, const T* v, int64_t n, double scale, double eps);

// The same for g[batch, rows, columns] with v = row[batch, rows] column[batch, columns] / max(row_mean[batch], eps).
template <typename T>
void factored_direction(T* out, const T* g, const T* row, const T* column, const T* row_mean, int64_t batch,
                        int64_t rows, int64_t columns, double scale, double eps);

}  // namespace troupe::cpu
