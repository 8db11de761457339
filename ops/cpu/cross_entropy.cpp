#include "ops/cpu/cross_entropy.h"

#include <cmath>
#include <limits>

#include "ops/cpu/row_sums.h"

namespace troupe::cpu {

template <typename T, typename Id>
void cross_entropy_forward(T* loss, T* lse, const T* logits, const Id* labels, int64_t rows, int64_t classes,
                           int64_t ignore_index) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = logits + i * classes;
    const int64_t label = static_cast<int64_t>(labels[i]);
    const T maximum = row_maximum(row, classes);
    const double log_sum = static_cast<double>(maximum) + std::log(exp_and_sum<T>(nullptr, row, maximum, classes));
    lse[i] = static_cast<T>(log_sum);
    if (label == ignore_index) {
      loss[i] = T(0);
    } else if (label < 0 || label >= classes) {
      loss[i] = std::numeric_limits<T>::quiet_NaN();
    } else {
      loss[i] = static_cast<T>(log_sum - static_cast<double>(row[label]));
    }
  }
}

template <typename T, typename Id>
void cross_entropy_backward_shard(T* dlogits, const T* dloss, const T* logits, const T* lse, const Id* labels,
                                  int64_t rows, int64_t classes, int64_t class_offset, int64_t ignore_index) {
  for (int64_t i = 0; i < rows; ++i) {
    T* to = dlogits + i * classes;
    const int64_t label = static_cast<int64_t>(labels[i]);
    if (label == ignore_index) {
      std::fill(to, to + classes, T(0));
      continue;
    }
    const T shift = lse[i];
    const T factor = dloss[i];
    map(classes, to, [=](Vec<T> v) { return math::exp(v - shift) * factor; }, logits + i * classes);
    if (label >= class_offset && label < class_offset + classes) to[label - class_offset] -= factor;
  }
}

template <typename T, typename Id>
void cross_entropy_backward(T* dlogits, const T* dloss, const T* logits, const T* lse, const Id* labels, int64_t rows,
                            int64_t classes, int64_t ignore_index) {
  cross_entropy_backward_shard(dlogits, dloss, logits, lse, labels, rows, classes, 0, ignore_index);
}

template <typename Id>
int64_t count_labels(const Id* labels, int64_t rows, int64_t ignore_index) {
  int64_t count = 0;
  for (int64_t i = 0; i < rows; ++i) count += static_cast<int64_t>(labels[i]) != ignore_index ? 1 : 0;
  return count;
}

template <typename T>
void row_max(T* out, const T* logits, int64_t rows, int64_t classes) {
  for (int64_t i = 0; i < rows; ++i) out[i] = row_maximum(logits + i * classes, classes);
}

template <typename T>
void row_sum_exp(T* out, const T* logits, const T* maximum, int64_t rows, int64_t classes) {
  for (int64_t i = 0; i < rows; ++i) {
    out[i] = static_cast<T>(exp_and_sum<T>(nullptr, logits + i * classes, maximum[i], classes));
  }
}

template <typename T, typename Id>
void pick_label(T* out, const T* logits, const Id* labels, int64_t rows, int64_t classes, int64_t class_offset,
                int64_t ignore_index) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t label = static_cast<int64_t>(labels[i]);
    const bool here = label != ignore_index && label >= class_offset && label < class_offset + classes;
    out[i] = here ? logits[i * classes + label - class_offset] : T(0);
  }
}

template <typename T>
struct EntropyInstances {
  static constexpr auto e0 = cross_entropy_forward<T, int32_t>;
  static constexpr auto e1 = cross_entropy_forward<T, int64_t>;
  static constexpr auto e2 = cross_entropy_backward<T, int32_t>;
  static constexpr auto e3 = cross_entropy_backward<T, int64_t>;
  static constexpr auto e4 = cross_entropy_backward_shard<T, int32_t>;
  static constexpr auto e5 = cross_entropy_backward_shard<T, int64_t>;
  static constexpr auto e6 = pick_label<T, int32_t>;
  static constexpr auto e7 = pick_label<T, int64_t>;
  static constexpr auto e8 = row_max<T>;
  static constexpr auto e9 = row_sum_exp<T>;
};
template struct EntropyInstances<float>;
template struct EntropyInstances<double>;
template int64_t count_labels<int32_t>(const int32_t*, int64_t, int64_t);
template int64_t count_labels<int64_t>(const int64_t*, int64_t, int64_t);

}  // namespace troupe::cpu
