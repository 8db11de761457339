#include "ops/cpu/attention_merge.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/simd.h"

namespace troupe::cpu {

template <typename T>
void attention_merge(T* out, T* lse, const T* a, const T* a_lse, const T* b, const T* b_lse, HeadStrides strides,
                     const AttentionShape& shape) {
  for (int64_t batch = 0; batch < shape.batch; ++batch) {
    for (int64_t head = 0; head < shape.heads; ++head) {
      for (int64_t i = 0; i < shape.q_len; ++i) {
        const int64_t row = (batch * shape.heads + head) * shape.q_len + i;
        const int64_t at = batch * strides.batch + head * strides.head + i * strides.seq;
        // NaN on either side goes through, as it does in the softmax of all keys.
        const T most = a_lse[row] > b_lse[row] || a_lse[row] != a_lse[row] ? a_lse[row] : b_lse[row];
        const bool no_keys = most == -std::numeric_limits<T>::infinity();
        const double of_a = no_keys ? 0.0 : std::exp(static_cast<double>(a_lse[row]) - static_cast<double>(most));
        const double of_b = no_keys ? 0.0 : std::exp(static_cast<double>(b_lse[row]) - static_cast<double>(most));
        const double sum = no_keys ? 1.0 : of_a + of_b;
        const T share_a = static_cast<T>(of_a / sum);
        const T share_b = static_cast<T>(of_b / sum);
        map(shape.head_dim, out + at, [=](Vec<T> x, Vec<T> y) { return x * share_a + y * share_b; }, a + at, b + at);
        lse[row] = no_keys ? most : static_cast<T>(static_cast<double>(most) + std::log(sum));
      }
    }
  }
}

template void attention_merge(float*, float*, const float*, const float*, const float*, const float*, HeadStrides,
                              const AttentionShape&);
template void attention_merge(double*, double*, const double*, const double*, const double*, const double*, HeadStrides,
                              const AttentionShape&);

}  // namespace troupe::cpu
