#include "ops/cpu/softmax.h"

#include <cmath>

#include "ops/cpu/row_sums.h"

namespace troupe::cpu {
namespace {

// Lanes of `inner` that walk down a strided dim together.
constexpr int64_t kLane = 64;

// Per lane of `inner`: the maximum over n and the sum of exp(x - maximum).
template <typename T>
void column_statistics(T* maximum, double* sum, const T* x, int64_t n, int64_t inner, int64_t count) {
  for (int64_t j = 0; j < count; ++j) maximum[j] = x[j];
  for (int64_t i = 1; i < n; ++i) {
    const T* row = x + i * inner;
    for (int64_t j = 0; j < count; ++j) {
      maximum[j] = maximum[j] > row[j] || maximum[j] != maximum[j] ? maximum[j] : row[j];
    }
  }
  for (int64_t j = 0; j < count; ++j) sum[j] = 0.0;
  T exps[kLane];
  for (int64_t i = 0; i < n; ++i) {
    map(
        count, exps, [](Vec<T> a, Vec<T> b) { return math::exp(a - b); }, x + i * inner,
        static_cast<const T*>(maximum));
    for (int64_t j = 0; j < count; ++j) sum[j] += static_cast<double>(exps[j]);
  }
}

// Calls f(offset, count) for every run of lanes of [outer, n, inner].
template <typename F>
void each_column_run(int64_t outer, int64_t n, int64_t inner, F f) {
  if (n <= 0) return;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t j = 0; j < inner; j += kLane) f(o * n * inner + j, std::min(kLane, inner - j));
  }
}

}  // namespace

template <typename T>
void softmax_forward(T* y, const T* x, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = x + i * n;
    T* to = y + i * n;
    const double sum = exp_and_sum(to, from, row_maximum(from, n), n);
    const T factor = static_cast<T>(1.0 / sum);
    map(n, to, [factor](Vec<T> v) { return v * factor; }, static_cast<const T*>(to));
  }
}

template <typename T>
void softmax_backward(T* dx, const T* dy, const T* y, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* d = dy + i * n;
    const T* p = y + i * n;
    const T dot = static_cast<T>(row_sum<T>(n, [](Vec<T> a, Vec<T> b) { return a * b; }, d, p));
    map(n, dx + i * n, [dot](Vec<T> a, Vec<T> b) { return b * (a - dot); }, d, p);
  }
}

template <typename T>
void log_softmax_forward(T* y, const T* x, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = x + i * n;
    const T maximum = row_maximum(from, n);
    const T log_sum = static_cast<T>(std::log(exp_and_sum<T>(nullptr, from, maximum, n)));
    map(n, y + i * n, [=](Vec<T> v) { return (v - maximum) - log_sum; }, from);
  }
}

template <typename T>
void log_softmax_backward(T* dx, const T* dy, const T* y, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* d = dy + i * n;
    const T sum = static_cast<T>(row_sum<T>(n, [](Vec<T> v) { return v; }, d));
    map(n, dx + i * n, [sum](Vec<T> a, Vec<T> b) { return a - math::exp(b) * sum; }, d, y + i * n);
  }
}

template <typename T>
void softmax_forward_strided(T* y, const T* x, int64_t outer, int64_t n, int64_t inner) {
  if (inner == 1) return softmax_forward(y, x, outer, n);
  each_column_run(outer, n, inner, [=](int64_t at, int64_t count) {
    T maximum[kLane];
    T factor[kLane];
    double sum[kLane];
    column_statistics(maximum, sum, x + at, n, inner, count);
    for (int64_t j = 0; j < count; ++j) factor[j] = static_cast<T>(1.0 / sum[j]);
    for (int64_t i = 0; i < n; ++i) {
      map(
          count, y + at + i * inner, [](Vec<T> v, Vec<T> m, Vec<T> f) { return math::exp(v - m) * f; },
          x + at + i * inner, static_cast<const T*>(maximum), static_cast<const T*>(factor));
    }
  });
}

template <typename T>
void softmax_backward_strided(T* dx, const T* dy, const T* y, int64_t outer, int64_t n, int64_t inner) {
  if (inner == 1) return softmax_backward(dx, dy, y, outer, n);
  each_column_run(outer, n, inner, [=](int64_t at, int64_t count) {
    double sum[kLane] = {};
    for (int64_t i = 0; i < n; ++i) {
      const T* d = dy + at + i * inner;
      const T* p = y + at + i * inner;
      for (int64_t j = 0; j < count; ++j) sum[j] += static_cast<double>(d[j] * p[j]);
    }
    T dot[kLane];
    for (int64_t j = 0; j < count; ++j) dot[j] = static_cast<T>(sum[j]);
    for (int64_t i = 0; i < n; ++i) {
      map(
          count, dx + at + i * inner, [](Vec<T> a, Vec<T> b, Vec<T> s) { return b * (a - s); }, dy + at + i * inner,
          y + at + i * inner, static_cast<const T*>(dot));
    }
  });
}

template <typename T>
void log_softmax_forward_strided(T* y, const T* x, int64_t outer, int64_t n, int64_t inner) {
  if (inner == 1) return log_softmax_forward(y, x, outer, n);
  each_column_run(outer, n, inner, [=](int64_t at, int64_t count) {
    T maximum[kLane];
    T log_sum[kLane];
    double sum[kLane];
    column_statistics(maximum, sum, x + at, n, inner, count);
    for (int64_t j = 0; j < count; ++j) log_sum[j] = static_cast<T>(std::log(sum[j]));
    for (int64_t i = 0; i < n; ++i) {
      map(
          count, y + at + i * inner, [](Vec<T> v, Vec<T> m, Vec<T> s) { return (v - m) - s; }, x + at + i * inner,
          static_cast<const T*>(maximum), static_cast<const T*>(log_sum));
    }
  });
}

template <typename T>
void log_softmax_backward_strided(T* dx, const T* dy, const T* y, int64_t outer, int64_t n, int64_t inner) {
  if (inner == 1) return log_softmax_backward(dx, dy, y, outer, n);
  each_column_run(outer, n, inner, [=](int64_t at, int64_t count) {
    double sum[kLane] = {};
    for (int64_t i = 0; i < n; ++i) {
      const T* d = dy + at + i * inner;
      for (int64_t j = 0; j < count; ++j) sum[j] += static_cast<double>(d[j]);
    }
    T total[kLane];
    for (int64_t j = 0; j < count; ++j) total[j] = static_cast<T>(sum[j]);
    for (int64_t i = 0; i < n; ++i) {
      map(
          count, dx + at + i * inner, [](Vec<T> a, Vec<T> b, Vec<T> s) { return a - math::exp(b) * s; },
          dy + at + i * inner, y + at + i * inner, static_cast<const T*>(total));
    }
  });
}

template <typename T>
struct SoftmaxInstances {
  static constexpr auto s0 = softmax_forward<T>;
  static constexpr auto s1 = softmax_backward<T>;
  static constexpr auto s2 = log_softmax_forward<T>;
  static constexpr auto s3 = log_softmax_backward<T>;
  static constexpr auto s4 = softmax_forward_strided<T>;
  static constexpr auto s5 = softmax_backward_strided<T>;
  static constexpr auto s6 = log_softmax_forward_strided<T>;
  static constexpr auto s7 = log_softmax_backward_strided<T>;
};
template struct SoftmaxInstances<float>;
template struct SoftmaxInstances<double>;

}  // namespace troupe::cpu
