#include "ops/cpu/normalize.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/row_sums.h"

namespace troupe::cpu {

template <typename T>
void normalize_forward(T* y, T* norm, const T* x, int64_t rows, int64_t n, double eps) {
  for (int64_t i = 0; i < rows; ++i) {
    const double length = std::sqrt(row_sum<T, true>(n, [](Vec<T> v) { return v; }, x + i * n));
    norm[i] = static_cast<T>(length);
    const T factor = static_cast<T>(1.0 / std::max(length, eps));
    map(n, y + i * n, [factor](Vec<T> v) { return v * factor; }, x + i * n);
  }
}

template <typename T>
void normalize_backward(T* dx, const T* dy, const T* y, const T* norm, int64_t rows, int64_t n, double eps) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* d = dy + i * n;
    const T* unit = y + i * n;
    const double length = static_cast<double>(norm[i]);
    const T factor = static_cast<T>(1.0 / std::max(length, eps));
    const T along =
        length < eps ? T(0) : static_cast<T>(row_sum<T>(n, [](Vec<T> a, Vec<T> b) { return a * b; }, d, unit));
    map(n, dx + i * n, [=](Vec<T> a, Vec<T> b) { return (a - b * along) * factor; }, d, unit);
  }
}

template <typename T>
struct NormalizeInstances {
  static constexpr auto n0 = normalize_forward<T>;
  static constexpr auto n1 = normalize_backward<T>;
};
template struct NormalizeInstances<float>;
template struct NormalizeInstances<double>;

}  // namespace troupe::cpu
