#include "ops/cpu/embedding.h"

#include <algorithm>

#include "ops/cpu/simd.h"

namespace troupe::cpu {

template <typename T, typename Id>
void embedding_forward(T* out, const T* table, const Id* ids, int64_t count, int64_t dim, int64_t row_offset,
                       int64_t rows) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = static_cast<int64_t>(ids[i]) - row_offset;
    T* to = out + i * dim;
    if (row >= 0 && row < rows) {
      std::copy(table + row * dim, table + (row + 1) * dim, to);
    } else {
      std::fill(to, to + dim, T(0));
    }
  }
}

template <typename T, typename Id>
void embedding_backward(T* dtable, const T* dout, const Id* ids, int64_t count, int64_t dim, int64_t row_offset,
                        int64_t rows) {
  std::fill(dtable, dtable + std::max<int64_t>(rows, 0) * dim, T(0));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = static_cast<int64_t>(ids[i]) - row_offset;
    if (row < 0 || row >= rows) continue;
    T* to = dtable + row * dim;
    map(dim, to, [](Vec<T> a, Vec<T> b) { return a + b; }, static_cast<const T*>(to), dout + i * dim);
  }
}

template <typename T, typename Id>
struct EmbeddingInstances {
  static constexpr auto e0 = embedding_forward<T, Id>;
  static constexpr auto e1 = embedding_backward<T, Id>;
};
template struct EmbeddingInstances<float, int32_t>;
template struct EmbeddingInstances<float, int64_t>;
template struct EmbeddingInstances<double, int32_t>;
template struct EmbeddingInstances<double, int64_t>;

}  // namespace troupe::cpu
