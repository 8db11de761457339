#include "ops/cpu/layer_norm.h"

#include <cmath>

#include "ops/cpu/row_sums.h"

namespace troupe::cpu {
namespace {

// Columns whose sums over rows are kept in the first-level cache together.
constexpr int64_t kColumns = 256;
// Rows that are added up per vector of columns at a time: few enough that their part of the tensors stays in
// cache.
constexpr int64_t kRows = 32;

template <typename T>
void write_normalised(T* y, const T* x, T mean, T rstd, const T* scale, const T* shift, int64_t n) {
  if (scale != nullptr && shift != nullptr) {
    map(n, y, [=](Vec<T> v, Vec<T> a, Vec<T> b) { return (v - mean) * rstd * a + b; }, x, scale, shift);
  } else if (scale != nullptr) {
    map(n, y, [=](Vec<T> v, Vec<T> a) { return (v - mean) * rstd * a; }, x, scale);
  } else if (shift != nullptr) {
    map(n, y, [=](Vec<T> v, Vec<T> b) { return (v - mean) * rstd + b; }, x, shift);
  } else {
    map(n, y, [=](Vec<T> v) { return (v - mean) * rstd; }, x);
  }
}

template <typename T>
void normalise_row(T* y, T* mean, T* rstd, const T* x, const T* scale, const T* shift, int64_t n, double eps) {
  const double count = static_cast<double>(n);
  const T m = static_cast<T>(row_sum<T>(n, [](Vec<T> v) { return v; }, x) / count);
  // Zero beyond the row would count as a deviation; the mean does not.
  const double sum = row_sum_padded<T>(n, m, [m](Vec<T> v) { return (v - m) * (v - m); }, x);
  const T r = static_cast<T>(1.0 / std::sqrt(sum / count + eps));
  *mean = m;
  *rstd = r;
  write_normalised(y, x, m, r, scale, shift, n);
}

// dx = rstd (g - mean_g - h mean_gh).
template <typename T, bool Scaled>
void backward_row(T* dx, const T* dy, const T* x, T mean, T rstd, const T* scale, int64_t n) {
  constexpr int64_t lanes = kLanes<T>;
  WideSum sum_g;
  WideSum sum_gh;
  const auto parts = [&](Vec<T> d, Vec<T> v, Vec<T> s, int64_t turn) {
    const Vec<T> g = Scaled ? d * s : d;
    sum_g.add<T>(g, turn);
    sum_gh.add<T>(g * (v - mean), turn);
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
#pragma GCC unroll 2
    for (int64_t turn = 0; turn < 2; ++turn) {
      const int64_t at = i + turn * lanes;
      parts(load(dy + at), load(x + at), Scaled ? load(scale + at) : Vec<T>{}, turn);
    }
  }
  for (; i < n; i += lanes) {
    const int64_t count = std::min(lanes, n - i);
    parts(load_part(dy + i, count), load_part(x + i, count), Scaled ? load_part(scale + i, count) : Vec<T>{}, 0);
  }
  const double size = static_cast<double>(n);
  const T mean_g = static_cast<T>(sum_g.total() / size);
  // h = (x - mean) rstd, so h mean(g h) = (x - mean) times this.
  const T slope = static_cast<T>(sum_gh.total() / size * static_cast<double>(rstd) * static_cast<double>(rstd));
  if constexpr (Scaled) {
    map(
        n, dx, [=](Vec<T> d, Vec<T> v, Vec<T> s) { return rstd * (d * s - mean_g - (v - mean) * slope); }, dy, x,
        scale);
  } else {
    map(n, dx, [=](Vec<T> d, Vec<T> v) { return rstd * (d - mean_g - (v - mean) * slope); }, dy, x);
  }
}

// Adds to the sums of one vector of columns over rows [begin, end): of dy h, with h = (x - mean) rstd, and of
// dy. The sums stay in registers meanwhile; mean null counts as 0.
template <typename T>
void column_sums(double* sum_h, double* sum, const T* dy, const T* x, const T* mean, const T* rstd, int64_t begin,
                 int64_t end, int64_t n, int64_t count) {
  constexpr int64_t lanes = kLanes<T>;
  constexpr int parts = kWideParts<T>;
  Vec<double> total_h[parts];
  Vec<double> total[parts];
  for (int part = 0; part < parts; ++part) {
    total_h[part] = load(sum_h + part * kLanes<double>);
    total[part] = load(sum + part * kLanes<double>);
  }
  for (int64_t i = begin; i < end; ++i) {
    const T* d = dy + i * n;
    const T* v = x + i * n;
    const bool full = count == lanes;
    const Vec<T> g = full ? load(d) : load_part(d, count);
    const Vec<T> h = ((full ? load(v) : load_part(v, count)) - (mean != nullptr ? mean[i] : T(0))) * rstd[i];
    const Vec<T> gh = g * h;
    for (int part = 0; part < parts; ++part) {
      total_h[part] += widen<T>(gh, part);
      total[part] += widen<T>(g, part);
    }
  }
  for (int part = 0; part < parts; ++part) {
    store(sum_h + part * kLanes<double>, total_h[part]);
    store(sum + part * kLanes<double>, total[part]);
  }
}

}  // namespace

template <typename T>
void layer_norm_forward(T* y, T* mean, T* rstd, const T* x, const T* scale, const T* shift, int64_t rows, int64_t n,
                        double eps) {
  for (int64_t i = 0; i < rows; ++i) {
    normalise_row(y + i * n, mean + i, rstd + i, x + i * n, scale, shift, n, eps);
  }
}

template <typename T>
void add_layer_norm_forward(T* sum, T* y, T* mean, T* rstd, const T* a, const T* b, const T* scale, const T* shift,
                            int64_t rows, int64_t n, double eps) {
  for (int64_t i = 0; i < rows; ++i) {
    map(n, sum + i * n, [](Vec<T> u, Vec<T> v) { return u + v; }, a + i * n, b + i * n);
    normalise_row(y + i * n, mean + i, rstd + i, sum + i * n, scale, shift, n, eps);
  }
}

template <typename T>
void layer_norm_backward_input(T* dx, const T* dy, const T* x, const T* mean, const T* rstd, const T* scale,
                               int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    if (scale != nullptr) {
      backward_row<T, true>(dx + i * n, dy + i * n, x + i * n, mean[i], rstd[i], scale, n);
    } else {
      backward_row<T, false>(dx + i * n, dy + i * n, x + i * n, mean[i], rstd[i], scale, n);
    }
  }
}

template <typename T>
void layer_norm_backward_params(T* dscale, T* dshift, const T* dy, const T* x, const T* mean, const T* rstd,
                                int64_t rows, int64_t n) {
  for (int64_t j = 0; j < n; j += kColumns) {
    const int64_t count = std::min(kColumns, n - j);
    double sum_h[kColumns] = {};
    double sum[kColumns] = {};
    for (int64_t begin = 0; begin < rows; begin += kRows) {
      const int64_t end = std::min(begin + kRows, rows);
      for (int64_t i = 0; i < count; i += kLanes<T>) {
        column_sums(sum_h + i, sum + i, dy + j + i, x + j + i, mean, rstd, begin, end, n,
                    std::min(kLanes<T>, count - i));
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      if (dscale != nullptr) dscale[j + i] = static_cast<T>(sum_h[i]);
      if (dshift != nullptr) dshift[j + i] = static_cast<T>(sum[i]);
    }
  }
}

template <typename T>
void rms_norm_forward(T* y, T* rstd, const T* x, const T* scale, int64_t rows, int64_t n, double eps) {
  for (int64_t i = 0; i < rows; ++i) {
    const double squares = row_sum<T, true>(n, [](Vec<T> v) { return v; }, x + i * n);
    rstd[i] = static_cast<T>(1.0 / std::sqrt(squares / static_cast<double>(n) + eps));
    write_normalised(y + i * n, x + i * n, T(0), rstd[i], scale, static_cast<const T*>(nullptr), n);
  }
}

template <typename T>
void rms_norm_backward_input(T* dx, const T* dy, const T* x, const T* rstd, const T* scale, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* d = dy + i * n;
    const T* v = x + i * n;
    const double dot = scale != nullptr ? row_sum<T>(
                                              n, [](Vec<T> a, Vec<T> b, Vec<T> s) { return a * s * b; }, d, v, scale)
                                        : row_sum<T>(n, [](Vec<T> a, Vec<T> b) { return a * b; }, d, v);
    const T r = rstd[i];
    const T slope = static_cast<T>(dot / static_cast<double>(n) * static_cast<double>(r) * static_cast<double>(r));
    if (scale != nullptr) {
      map(n, dx + i * n, [=](Vec<T> a, Vec<T> b, Vec<T> s) { return r * (a * s - b * slope); }, d, v, scale);
    } else {
      map(n, dx + i * n, [=](Vec<T> a, Vec<T> b) { return r * (a - b * slope); }, d, v);
    }
  }
}

template <typename T>
void rms_norm_backward_params(T* dscale, const T* dy, const T* x, const T* rstd, int64_t rows, int64_t n) {
  layer_norm_backward_params<T>(dscale, nullptr, dy, x, nullptr, rstd, rows, n);
}

template <typename T>
struct NormInstances {
  static constexpr auto n0 = layer_norm_forward<T>;
  static constexpr auto n1 = add_layer_norm_forward<T>;
  static constexpr auto n2 = layer_norm_backward_input<T>;
  static constexpr auto n3 = layer_norm_backward_params<T>;
  static constexpr auto n4 = rms_norm_forward<T>;
  static constexpr auto n5 = rms_norm_backward_input<T>;
  static constexpr auto n6 = rms_norm_backward_params<T>;
};
template struct NormInstances<float>;
template struct NormInstances<double>;

}  // namespace troupe::cpu
