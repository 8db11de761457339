// Layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019) over the last dim of x[rows,n].
//
// T: float, double. Sums are carried in double in a fixed order. `scale` and `shift` are [n] and may be null
// (1 and 0). mean and rstd are [rows]. All functions are re-entrant. Outputs do not overlap inputs, except y
// = x and dx = dy.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// y = (x - mean) rstd scale + shift with rstd = 1 / sqrt(var + eps), var = mean((x - mean)^2).
template <typename T>
void layer_norm_forward(T* y, T* mean, T* rstd, const T* x, const T* scale, const T* shift, int64_t rows, int64_t n,
                        double eps);

// With h = (x - mean) rstd and g = dy scale: dx = rstd (g - mean(g) - h mean(g h)).
template <typename T>
void layer_norm_backward_input(T* dx, const T* dy, const T* x, const T* mean, const T* rstd, const T* scale,
                               int64_t rows, int64_t n);

// dscale = sum over rows of dy h, dshift = sum over rows of dy; either may be null.
template <typename T>
void layer_norm_backward_params(T* dscale, T* dshift, const T* dy, const T* x, const T* mean, const T* rstd,
                                int64_t rows, int64_t n);

// sum = a + b, then y = layer_norm(sum): the residual and the norm of a pre-norm block in one pass. sum may
// be a or b.
template <typename T>
void add_layer_norm_forward(T* sum, T* y, T* mean, T* rstd, const T* a, const T* b, const T* scale, const T* shift,
                            int64_t rows, int64_t n, double eps);

// y = x rstd scale with rstd = 1 / sqrt(mean(x^2) + eps).
template <typename T>
void rms_norm_forward(T* y, T* rstd, const T* x, const T* scale, int64_t rows, int64_t n, double eps);

// With g = dy scale: dx = rstd (g - x rstd^2 mean(g x)).
template <typename T>
void rms_norm_backward_input(T* dx, const T* dy, const T* x, const T* rstd, const T* scale, int64_t rows, int64_t n);

// dscale = sum over rows of dy x rstd.
template <typename T>
void rms_norm_backward_params(T* dscale, const T* dy, const T* x, const T* rstd, int64_t rows, int64_t n);

}  // namespace troupe::cpu
