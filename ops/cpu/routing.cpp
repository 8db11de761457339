#include "ops/cpu/routing.h"

#include <algorithm>
#include <type_traits>

#include "ops/cpu/row_sums.h"
#include "runtime/base/dtype.h"

namespace troupe::cpu {
namespace {

constexpr int64_t kBlock = 256;  // numbers of a row that are summed at a time

// The row of the buffer's part that holds choice `at` of token row `row`; -1: none does.
int64_t buffer_row(const Routing& by, int64_t row, int64_t at) {
  const int64_t expert = by.choices[at] - by.first_expert;
  const int64_t place = by.place[at] - by.first_place;
  if (by.place[at] < 0 || expert < 0 || expert >= by.experts || place < 0 || place >= by.places) return -1;
  return (expert * by.batch + row) * by.places + place;
}

template <typename T>
auto wide(T value) {
  if constexpr (sizeof(T) == sizeof(double)) {
    return static_cast<double>(value);
  } else {
    return static_cast<float>(value);
  }
}

template <typename T, typename W>
double dot(const T* a, const T* b, int64_t n) {
  const auto product = [](Vec<W> p, Vec<W> q) { return p * q; };
  if constexpr (std::is_same_v<T, W>) {
    return row_sum<W>(n, product, a, b);
  } else {
    double sum = 0;
    W wide_a[kBlock], wide_b[kBlock];
    for (int64_t first = 0; first < n; first += kBlock) {
      const int64_t count = std::min(kBlock, n - first);
      std::copy(a + first, a + first + count, wide_a);
      std::copy(b + first, b + first + count, wide_b);
      sum += row_sum<W>(count, product, wide_a, wide_b);
    }
    return sum;
  }
}

}  // namespace

void expert_places(int32_t* counts, int32_t* place, const int32_t* choices, const Places& of) {
  for (int64_t row = 0; row < of.batch; ++row) {
    std::fill(of.totals.begin(), of.totals.end(), 0);
    for (int64_t j = 0; j < of.k; ++j) {
      for (int64_t token = 0; token < of.seq; ++token) {
        const int64_t at = (row * of.seq + token) * of.k + j;
        const int32_t here = of.totals[static_cast<size_t>(choices[at])]++;
        place[at] = here < of.capacity ? here : -1;
      }
    }
    for (int64_t e = 0; e < of.counted; ++e) {
      counts[e * of.batch + row] = of.totals[static_cast<size_t>(of.first_expert + e)];
    }
  }
}

template <typename T, typename W>
void dispatch(T* buffer, const T* x, const W* weights, const Routing& by) {
  std::fill(buffer, buffer + by.experts * by.batch * by.places * by.dim, T(0));
  for (int64_t token = 0; token < by.batch * by.seq; ++token) {
    const T* from = x + token * by.dim;
    for (int64_t at = token * by.k; at < (token + 1) * by.k; ++at) {
      const int64_t row = buffer_row(by, token / by.seq, at);
      if (row < 0) continue;
      const W weight = weights == nullptr ? W(1) : weights[at];
      T* to = buffer + row * by.dim;
      for (int64_t d = 0; d < by.dim; ++d) to[d] = T(wide(to[d]) + weight * wide(from[d]));
    }
  }
}

template <typename T, typename W>
void combine(T* y, const T* buffer, const W* weights, const Routing& by) {
  for (int64_t token = 0; token < by.batch * by.seq; ++token) {
    for (int64_t first = 0; first < by.dim; first += kBlock) {
      const int64_t count = std::min(kBlock, by.dim - first);
      W sums[kBlock] = {};
      for (int64_t at = token * by.k; at < (token + 1) * by.k; ++at) {
        const int64_t row = buffer_row(by, token / by.seq, at);
        if (row < 0) continue;
        const W weight = weights == nullptr ? W(1) : weights[at];
        const T* from = buffer + row * by.dim + first;
        for (int64_t d = 0; d < count; ++d) sums[d] += weight * wide(from[d]);
      }
      std::transform(sums, sums + count, y + token * by.dim + first, [](W sum) { return T(sum); });
    }
  }
}

template <typename T, typename W>
void routed_dot(W* y, const T* buffer, const T* x, const Routing& by) {
  for (int64_t token = 0; token < by.batch * by.seq; ++token) {
    const T* one = x + token * by.dim;
    for (int64_t at = token * by.k; at < (token + 1) * by.k; ++at) {
      const int64_t row = buffer_row(by, token / by.seq, at);
      y[at] = row < 0 ? W(0) : static_cast<W>(dot<T, W>(buffer + row * by.dim, one, by.dim));
    }
  }
}

template <typename T, typename W>
struct RoutingInstances {
  static constexpr auto e0 = dispatch<T, W>;
  static constexpr auto e1 = combine<T, W>;
  static constexpr auto e2 = routed_dot<T, W>;
};
template struct RoutingInstances<float, float>;
template struct RoutingInstances<double, double>;
template struct RoutingInstances<BFloat16, float>;
template struct RoutingInstances<Float16, float>;

}  // namespace troupe::cpu
