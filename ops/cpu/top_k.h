// The largest elements of rows, and the way back.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// Per row of x[rows, n]: the k <= n largest elements, largest first, and where they stand. Of equal elements the one
// with the lower index comes first; NaN counts as larger than any number. T: float, double.
template <typename T>
void top_k(T* values, int32_t* indices, const T* x, int64_t rows, int64_t n, int64_t k);

// dx[row, indices[row, j] - offset] += dvalues[row, j], dx[rows, n] zero at first; indices outside go nowhere.
template <typename T>
void top_k_backward(T* dx, const T* dvalues, const int32_t* indices, int64_t rows, int64_t n, int64_t k,
                    int64_t offset);

}  // namespace troupe::cpu
