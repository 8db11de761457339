#include "ops/cpu/expert_linear.h"

#include <algorithm>

#include "ops/cpu/gemm.h"
#include "ops/cpu/gemm_low.h"

namespace troupe::cpu {
namespace {

template <typename T, typename S>
void product(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
             int64_t ldb, S* c) {
  if constexpr (LowFloat<T>) {
    gemm_low<T, S>(trans_a, trans_b, m, n, k, a, lda, b, ldb, nullptr, c, n);
  } else {
    gemm<T>(trans_a, trans_b, m, n, k, T(1), a, lda, b, ldb, T(0), c, n);
  }
}

// The rows that are there, one after another. Returns how many.
template <typename T>
int64_t pack(T* to, const T* from, int64_t width, int64_t expert, const ExpertRows& rows) {
  int64_t packed = 0;
  for (int64_t b = 0; b < rows.batch; ++b, from += rows.places * width) {
    const int64_t used = rows.used(expert, b);
    std::copy(from, from + used * width, to + packed * width);
    packed += used;
  }
  return packed;
}

}  // namespace

int64_t ExpertRows::used(int64_t expert, int64_t row) const {
  if (counts == nullptr) return places;
  return std::clamp<int64_t>(counts[expert * batch + row] - first_place, 0, places);
}

template <typename T>
void expert_linear(T* y, const T* x, const T* w, int64_t in, int64_t out, bool transposed, const ExpertRows& rows) {
  const int64_t ldw = transposed ? out : in;
  // Where all rows are there, those of the whole batch are one product.
  const int64_t products = rows.counts == nullptr ? 1 : rows.batch;
  const int64_t height = rows.batch * rows.places / std::max<int64_t>(products, 1);
  for (int64_t e = 0; e < rows.experts; ++e, w += in * out) {
    for (int64_t b = 0; b < products; ++b, x += height * in, y += height * out) {
      const int64_t used = rows.counts == nullptr ? height : rows.used(e, b);
      product<T, T>(false, !transposed, used, out, in, x, in, w, ldw, y);
      std::fill(y + used * out, y + height * out, T(0));
    }
  }
}

template <typename T, typename S>
void expert_linear_weight_gradient(S* dw, const T* x, const T* dy, int64_t in, int64_t out, const ExpertRows& rows,
                                   T* packed) {
  const int64_t height = rows.batch * rows.places;
  for (int64_t e = 0; e < rows.experts; ++e, x += height * in, dy += height * out, dw += in * out) {
    if (rows.counts == nullptr) {
      product<T, S>(true, false, out, in, height, dy, out, x, in, dw);
      continue;
    }
    T* packed_dy = packed + height * in;
    const int64_t used = pack(packed, x, in, e, rows);
    pack(packed_dy, dy, out, e, rows);
    product<T, S>(true, false, out, in, used, packed_dy, out, packed, in, dw);
  }
}

template <typename T, typename S>
struct ExpertLinearInstances {
  static constexpr auto e0 = expert_linear<T>;
  static constexpr auto e1 = expert_linear_weight_gradient<T, S>;
};
template struct ExpertLinearInstances<float, float>;
template struct ExpertLinearInstances<double, double>;
template struct ExpertLinearInstances<BFloat16, float>;
template struct ExpertLinearInstances<Float16, float>;

}  // namespace troupe::cpu
