#include "ops/cpu/muon.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/gemm.h"
#include "ops/cpu/row_sums.h"

namespace troupe::cpu {
namespace {

template <typename T>
void normalise(T* y, const T* x, int64_t m, int64_t n, double eps) {
  double squares = 0;
  for (int64_t i = 0; i < m; ++i) squares += row_sum<T, true>(n, [](Vec<T> v) { return v; }, x + i * n);
  const T factor = static_cast<T>(1.0 / std::max(std::sqrt(squares), eps));
  map(m * n, y, [=](Vec<T> v) { return v * factor; }, x);
}

}  // namespace

int64_t newton_schulz_scratch(int64_t m, int64_t n) {
  const int64_t least = std::min(m, n);
  return 2 * least * least + m * n;
}

template <typename T>
void newton_schulz(T* y, const T* x, int64_t count, int64_t m, int64_t n, const NewtonSchulzOptions& options,
                   T* scratch) {
  const int64_t k = std::min(m, n);
  const bool tall = m > n;
  T* gram = scratch;
  T* polynomial = gram + k * k;
  T* before = polynomial + k * k;
  for (int64_t i = 0; i < count; ++i) {
    T* at = y + i * m * n;
    normalise(at, x + i * m * n, m, n, options.eps);
    for (int64_t step = 0; step < options.steps; ++step) {
      std::copy(at, at + m * n, before);
      gemm<T>(tall, !tall, k, k, tall ? m : n, T(1), at, n, at, n, T(0), gram, k);
      std::copy(gram, gram + k * k, polynomial);
      gemm<T>(false, false, k, k, k, static_cast<T>(options.c), gram, k, gram, k, static_cast<T>(options.b), polynomial,
              k);
      const T a = static_cast<T>(options.a);
      if (tall) {
        gemm<T>(false, false, m, n, n, T(1), before, n, polynomial, k, a, at, n);
      } else {
        gemm<T>(false, false, m, n, m, T(1), polynomial, k, before, n, a, at, n);
      }
    }
  }
}

template void newton_schulz<float>(float*, const float*, int64_t, int64_t, int64_t, const NewtonSchulzOptions&, float*);
template void newton_schulz<double>(double*, const double*, int64_t, int64_t, int64_t, const NewtonSchulzOptions&,
                                    double*);

}  // namespace troupe::cpu
