#include "ops/cpu/factored.h"

#include <algorithm>

#include "ops/cpu/row_sums.h"

namespace troupe::cpu {
namespace {

// Columns that are accumulated at a time: the accumulators stay in the first-level cache.
constexpr int64_t kColumns = 256;

}  // namespace

template <typename T>
void mean_squares_of_rows(T* out, const T* x, int64_t rows, int64_t n, int64_t count) {
  for (int64_t i = 0; i < rows; ++i) {
    const double sum = row_sum<T, true>(n, [](Vec<T> v) { return v; }, x + i * n);
    out[i] = static_cast<T>(sum / static_cast<double>(count));
  }
}

template <typename T>
void mean_squares_of_columns(T* out, const T* x, int64_t outer, int64_t n, int64_t inner, int64_t count) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t begin = 0; begin < inner; begin += kColumns) {
      const int64_t columns = std::min(kColumns, inner - begin);
      double sums[kColumns] = {};
      for (int64_t i = 0; i < n; ++i) {
        const T* row = x + (o * n + i) * inner + begin;
#pragma omp simd
        for (int64_t j = 0; j < columns; ++j) sums[j] += static_cast<double>(row[j]) * static_cast<double>(row[j]);
      }
      for (int64_t j = 0; j < columns; ++j) {
        out[o * inner + begin + j] = static_cast<T>(sums[j] / static_cast<double>(count));
      }
    }
  }
}

template <typename T>
void moving_mean(T* mean, const T* x, int64_t n, bool square, double scale, double weight) {
  const T by = static_cast<T>(weight);
  const T factor = static_cast<T>(scale);
  // Two loops without conditions: compilers join products and sums within straight code alone, and tails must do as the
  // rest.
  if (square) {
    map(n, mean, [=](Vec<T> m, Vec<T> value) { return m + by * (value * factor * value - m); }, mean, x);
  } else {
    map(n, mean, [=](Vec<T> m, Vec<T> value) { return m + by * (value * factor - m); }, mean, x);
  }
}

template <typename T>
void adafactor_direction(T* out, const T* g, const T* v, int64_t n, double scale, double eps) {
  const Vec<T> least = splat(static_cast<T>(eps * eps));
  const T factor = static_cast<T>(scale);
  map(n, out, [=](Vec<T> x, Vec<T> square) { return x * factor / math::sqrt(math::max(square, least)); }, g, v);
}

template <typename T>
void factored_direction(T* out, const T* g, const T* row, const T* column, const T* row_mean, int64_t batch,
                        int64_t rows, int64_t columns, double scale, double eps) {
  const Vec<T> least = splat(static_cast<T>(eps * eps));
  const T factor = static_cast<T>(scale);
  for (int64_t i = 0; i < batch * rows; ++i) {
    const int64_t b = i / rows;
    const T ratio = row[i] / std::max(row_mean[b], static_cast<T>(eps));
    map(
        columns, out + i * columns,
        [=](Vec<T> x, Vec<T> c) { return x * factor / math::sqrt(math::max(c * ratio, least)); }, g + i * columns,
        column + b * columns);
  }
}

template <typename T>
struct FactoredInstances {
  static constexpr auto f0 = mean_squares_of_rows<T>;
  static constexpr auto f1 = mean_squares_of_columns<T>;
  static constexpr auto f2 = moving_mean<T>;
  static constexpr auto f3 = adafactor_direction<T>;
  static constexpr auto f4 = factored_direction<T>;
};
template struct FactoredInstances<float>;
template struct FactoredInstances<double>;

}  // namespace troupe::cpu
