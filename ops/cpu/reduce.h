// Reductions with a summation order that depends on the shape alone. Float sums are carried in double.
//
// T: float, double. All functions are re-entrant; outputs must not overlap inputs.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// kMax and kMin give NaN if any element is NaN. Of nothing: 0, NaN, -inf, +inf.
enum class ReduceOp { kSum, kMean, kMax, kMin };

// out: the dims of in[shape] with reduced[d] false, in order, contiguous (kept dims of size 1 make no
// difference). ndim <= kMaxDims.
template <typename T>
void reduce(ReduceOp op, T* out, const T* in, const int64_t* shape, const bool* reduced, int ndim);

// out[n] = sum over rows of x[rows,n] (a bias gradient); `accumulate` adds to out.
template <typename T>
void sum_rows(T* out, const T* x, int64_t rows, int64_t n, bool accumulate = false);

// out[rows] = sum over n of x[rows,n]^2, the same order inside every row.
template <typename T>
void row_sum_squares(T* out, const T* x, int64_t rows, int64_t n);

// The sum of x[n] along the binary tree whose left child takes the largest power of two below the count. 0
// for n = 0.
template <typename T>
T tree_sum(const T* x, int64_t n);

// out[rows] = index of the first largest element of each row of x[rows,n]; the first NaN wins. n > 0.
template <typename T>
void argmax(int64_t* out, const T* x, int64_t rows, int64_t n);

}  // namespace troupe::cpu
