#include "ops/cpu/batch_norm.h"

#include <cmath>

#include "ops/cpu/row_sums.h"

namespace troupe::cpu {
namespace {

// The sum over the samples of one channel of f(in0, in1, ...); f(beyond, ...) must be 0.
template <typename T, typename F, typename... In>
double sum_of(const Samples& s, int64_t channel, T beyond, F f, const In*... in) {
  double sum = 0;
  for (int64_t i = 0; i < s.count; ++i) {
    const int64_t at = (i * s.channels + channel) * s.inner;
    sum += row_sum_padded<T>(s.inner, beyond, f, (in + at)...);
  }
  return sum;
}

template <typename T, typename F, typename... In>
void map_channel(const Samples& s, int64_t channel, T* out, F f, const In*... in) {
  for (int64_t i = 0; i < s.count; ++i) {
    const int64_t at = (i * s.channels + channel) * s.inner;
    map(s.inner, out + at, f, (in + at)...);
  }
}

template <typename T>
double sum_in(const Samples& s, int64_t channel, const T* x) {
  return sum_of(s, channel, T(0), [](Vec<T> v) { return v; }, x);
}

template <typename T>
double square_sum_in(const Samples& s, int64_t channel, const T* x, T mean) {
  return sum_of(s, channel, mean, [mean](Vec<T> v) { return (v - mean) * (v - mean); }, x);
}

// Beyond a row dy is 0, and so is the product.
template <typename T>
double product_sum_in(const Samples& s, int64_t channel, const T* dy, const T* x, T mean, T rstd) {
  return sum_of(s, channel, T(0), [=](Vec<T> d, Vec<T> v) { return d * ((v - mean) * rstd); }, dy, x);
}

template <typename T>
void normalize_in(const Samples& s, int64_t channel, T* y, const T* x, T mean, T rstd, T scale, T shift) {
  map_channel(s, channel, y, [=](Vec<T> v) { return (v - mean) * rstd * scale + shift; }, x);
}

template <typename T>
void input_gradient_in(const Samples& s, int64_t channel, T* dx, const T* dy, const T* x, T scale, T mean, T rstd,
                       double dy_mean, double dyh_mean) {
  const T factor = scale * rstd, mean_g = static_cast<T>(dy_mean);
  const T slope = static_cast<T>(dyh_mean * static_cast<double>(rstd));
  map_channel(s, channel, dx, [=](Vec<T> d, Vec<T> v) { return factor * (d - mean_g - (v - mean) * slope); }, dy, x);
}

}  // namespace

template <typename T>
void channel_sum(const Samples& s, T* sum, const T* x) {
  for (int64_t c = 0; c < s.channels; ++c) sum[c] = static_cast<T>(sum_in(s, c, x));
}

template <typename T>
void channel_square_sum(const Samples& s, T* sum, const T* x, const T* mean) {
  for (int64_t c = 0; c < s.channels; ++c) sum[c] = static_cast<T>(square_sum_in(s, c, x, mean[c]));
}

template <typename T>
void channel_product_sum(const Samples& s, T* sum, const T* dy, const T* x, const T* mean, const T* rstd) {
  for (int64_t c = 0; c < s.channels; ++c) sum[c] = static_cast<T>(product_sum_in(s, c, dy, x, mean[c], rstd[c]));
}

template <typename T>
void channel_normalize(const Samples& s, T* y, const T* x, const T* mean, const T* rstd, const T* scale,
                       const T* shift) {
  for (int64_t c = 0; c < s.channels; ++c) normalize_in(s, c, y, x, mean[c], rstd[c], scale[c], shift[c]);
}

template <typename T>
void batch_norm_input_gradient(const Samples& s, T* dx, const T* dy, const T* x, const T* scale, const T* mean,
                               const T* rstd, const T* dy_sum, const T* dyh_sum, double total) {
  for (int64_t c = 0; c < s.channels; ++c) {
    input_gradient_in(s, c, dx, dy, x, scale[c], mean[c], rstd[c], static_cast<double>(dy_sum[c]) / total,
                      static_cast<double>(dyh_sum[c]) / total);
  }
}

template <typename T>
void batch_norm_forward(const Samples& s, T* y, T* mean, T* rstd, const T* x, const T* scale, const T* shift,
                        double eps) {
  const auto total = static_cast<double>(s.count * s.inner);
  for (int64_t c = 0; c < s.channels; ++c) {
    mean[c] = static_cast<T>(sum_in(s, c, x) / total);
    rstd[c] = static_cast<T>(1.0 / std::sqrt(square_sum_in(s, c, x, mean[c]) / total + eps));
    normalize_in(s, c, y, x, mean[c], rstd[c], scale[c], shift[c]);
  }
}

template <typename T>
void batch_norm_backward(const Samples& s, T* dx, T* dscale, T* dshift, const T* dy, const T* x, const T* scale,
                         const T* mean, const T* rstd) {
  const auto total = static_cast<double>(s.count * s.inner);
  for (int64_t c = 0; c < s.channels; ++c) {
    const double dy_sum = sum_in(s, c, dy), dyh_sum = product_sum_in(s, c, dy, x, mean[c], rstd[c]);
    dshift[c] += static_cast<T>(dy_sum);
    dscale[c] += static_cast<T>(dyh_sum);
    input_gradient_in(s, c, dx, dy, x, scale[c], mean[c], rstd[c], dy_sum / total, dyh_sum / total);
  }
}

#define TROUPE_BATCH_NORM(T)                                                                                       \
  template void channel_sum<T>(const Samples&, T*, const T*);                                                      \
  template void channel_square_sum<T>(const Samples&, T*, const T*, const T*);                                     \
  template void channel_product_sum<T>(const Samples&, T*, const T*, const T*, const T*, const T*);                \
  template void channel_normalize<T>(const Samples&, T*, const T*, const T*, const T*, const T*, const T*);        \
  template void batch_norm_input_gradient<T>(const Samples&, T*, const T*, const T*, const T*, const T*, const T*, \
                                             const T*, const T*, double);                                          \
  template void batch_norm_forward<T>(const Samples&, T*, T*, T*, const T*, const T*, const T*, double);           \
  template void batch_norm_backward<T>(const Samples&, T*, T*, T*, const T*, const T*, const T*, const T*, const T*)

TROUPE_BATCH_NORM(float);
TROUPE_BATCH_NORM(double);

}  // namespace troupe::cpu
