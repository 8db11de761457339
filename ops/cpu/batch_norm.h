// Batch norm on x[samples,channels,inner], whose channels have statistics of their own. T: float, double. Sums are
// carried in double, in an order that depends on the shape alone. All functions are re-entrant; y may be x, dx may be
// dy.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// Samples that have their statistics together, and how they lie: sample i of channel c begins at (i channels + c)
// inner.
struct Samples {
  int64_t count = 0, channels = 0, inner = 0;
};

// sum[c] = the sum of x.
template <typename T>
void channel_sum(const Samples& samples, T* sum, const T* x);

// sum[c] = the sum of (x - mean[c])².
template <typename T>
void channel_square_sum(const Samples& samples, T* sum, const T* x, const T* mean);

// sum[c] = the sum of dy (x - mean[c]) rstd[c].
template <typename T>
void channel_product_sum(const Samples& samples, T* sum, const T* dy, const T* x, const T* mean, const T* rstd);

// y = (x - mean[c]) rstd[c] scale[c] + shift[c].
template <typename T>
void channel_normalize(const Samples& samples, T* y, const T* x, const T* mean, const T* rstd, const T* scale,
                       const T* shift);

// dx = scale[c] rstd[c] (dy - dy_sum[c] / total - h dyh_sum[c] / total) with h = (x - mean[c]) rstd[c], where `total`
// elements went into the statistics.
template <typename T>
void batch_norm_input_gradient(const Samples& samples, T* dx, const T* dy, const T* x, const T* scale, const T* mean,
                               const T* rstd, const T* dy_sum, const T* dyh_sum, double total);

// mean, rstd = 1 / sqrt(variance + eps) and y, a channel at a time, so that it is read from cache.
template <typename T>
void batch_norm_forward(const Samples& samples, T* y, T* mean, T* rstd, const T* x, const T* scale, const T* shift,
                        double eps);

// dx, and *added* to: dscale[c] the sum of dy h, dshift[c] the sum of dy.
template <typename T>
void batch_norm_backward(const Samples& samples, T* dx, T* dscale, T* dshift, const T* dy, const T* x, const T* scale,
                         const T* mean, const T* rstd);

}  // namespace troupe::cpu
