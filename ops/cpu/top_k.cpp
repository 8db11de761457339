#include "ops/cpu/top_k.h"

#include <algorithm>

namespace troupe::cpu {
namespace {

template <typename T>
bool is_larger(T a, T b) {
  return a > b || (a != a && b == b);
}

// Whether element i of x comes before element j among the largest.
template <typename T>
bool precedes(const T* x, int64_t i, int64_t j) {
  if (is_larger(x[i], x[j])) return true;
  return !is_larger(x[j], x[i]) && i < j;
}

}  // namespace

template <typename T>
void top_k(T* values, int32_t* indices, const T* x, int64_t rows, int64_t n, int64_t k) {
  for (int64_t row = 0; row < rows; ++row, x += n, values += k, indices += k) {
    for (int64_t j = 0; j < k; ++j) {
      int64_t best = -1;
      for (int64_t i = 0; i < n; ++i) {
        const bool taken = j > 0 && !precedes(x, static_cast<int64_t>(indices[j - 1]), i);
        if (!taken && (best < 0 || precedes(x, i, best))) best = i;
      }
      values[j] = x[best];
      indices[j] = static_cast<int32_t>(best);
    }
  }
}

template <typename T>
void top_k_backward(T* dx, const T* dvalues, const int32_t* indices, int64_t rows, int64_t n, int64_t k,
                    int64_t offset) {
  std::fill(dx, dx + rows * n, T(0));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = row * k; j < (row + 1) * k; ++j) {
      const int64_t column = indices[j] - offset;
      if (column >= 0 && column < n) dx[row * n + column] += dvalues[j];
    }
  }
}

template void top_k<float>(float*, int32_t*, const float*, int64_t, int64_t, int64_t);
template void top_k<double>(double*, int32_t*, const double*, int64_t, int64_t, int64_t);
template void top_k_backward<float>(float*, const float*, const int32_t*, int64_t, int64_t, int64_t, int64_t);
template void top_k_backward<double>(double*, const double*, const int32_t*, int64_t, int64_t, int64_t, int64_t);

}  // namespace troupe::cpu
