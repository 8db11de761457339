// Element-wise kernels on contiguous tensors of n elements, and binary kernels with NumPy broadcasting.
//
// T: float, double. Outputs may be the same pointer as any input of the same shape, otherwise they must not
// overlap. All functions are re-entrant. An element's bits depend on its inputs only, not on its position.
#pragma once

#include <cstdint>

#include "ops/cpu/dims.h"

namespace troupe::cpu {

// ---- One input ----

template <typename T>
void neg(T* out, const T* x, int64_t n);
template <typename T>
void abs(T* out, const T* x, int64_t n);
template <typename T>
void square(T* out, const T* x, int64_t n);
template <typename T>
void sqrt(T* out, const T* x, int64_t n);
template <typename T>
void rsqrt(T* out, const T* x, int64_t n);  // 1 / sqrt(x)
template <typename T>
void reciprocal(T* out, const T* x, int64_t n);  // 1 / x
template <typename T>
void exp(T* out, const T* x, int64_t n);
template <typename T>
void log(T* out, const T* x, int64_t n);
template <typename T>
void sin(T* out, const T* x, int64_t n);
template <typename T>
void cos(T* out, const T* x, int64_t n);
template <typename T>
void erf(T* out, const T* x, int64_t n);
template <typename T>
void tanh(T* out, const T* x, int64_t n);
template <typename T>
void sigmoid(T* out, const T* x, int64_t n);  // 1 / (1 + exp(-x))
template <typename T>
void softplus(T* out, const T* x, int64_t n);  // log(1 + exp(x))
template <typename T>
void silu(T* out, const T* x, int64_t n);  // x sigmoid(x)
template <typename T>
void relu(T* out, const T* x, int64_t n);  // max(x, 0), NaN stays NaN
template <typename T>
void sign(T* out, const T* x, int64_t n);  // -1, 0, 1; NaN stays NaN

// x Phi(x) = x/2 (1 + erf(x/sqrt 2)), Hendrycks and Gimpel 2016.
template <typename T>
void gelu(T* out, const T* x, int64_t n);
// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the approximation of the same paper (GPT-2).
template <typename T>
void gelu_tanh(T* out, const T* x, int64_t n);

// ---- Backward: dx = dy * derivative; x is the forward's input, y its output ----

template <typename T>
void relu_backward(T* dx, const T* dy, const T* y, int64_t n);
template <typename T>
void tanh_backward(T* dx, const T* dy, const T* y, int64_t n);  // dy (1 - y^2)
template <typename T>
void sigmoid_backward(T* dx, const T* dy, const T* y, int64_t n);  // dy y (1 - y)
template <typename T>
void silu_backward(T* dx, const T* dy, const T* x, int64_t n);
template <typename T>
void gelu_backward(T* dx, const T* dy, const T* x, int64_t n);
template <typename T>
void gelu_tanh_backward(T* dx, const T* dy, const T* x, int64_t n);
template <typename T>
void sqrt_backward(T* dx, const T* dy, const T* y, int64_t n);  // dy / (2 y)
template <typename T>
void rsqrt_backward(T* dx, const T* dy, const T* y, int64_t n);  // -dy y^3 / 2
template <typename T>
void abs_backward(T* dx, const T* dy, const T* x, int64_t n);  // dy sign(x)

// ---- Two inputs ----

// kMin and kMax give NaN if either side is NaN.
enum class BinaryOp { kAdd, kSub, kMul, kDiv, kMin, kMax, kPow };
enum class CompareOp { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };

// out[i] = a[i] op b[i].
template <typename T>
void binary(BinaryOp op, T* out, const T* a, const T* b, int64_t n);

// out[i] = x[i] op c.
template <typename T>
void binary_scalar(BinaryOp op, T* out, const T* x, T c, int64_t n);

// out[i] = c op x[i].
template <typename T>
void scalar_binary(BinaryOp op, T* out, T c, const T* x, int64_t n);

// out[m,n] = a[m,n] op b[n] (a bias).
template <typename T>
void binary_row(BinaryOp op, T* out, const T* a, const T* b, int64_t m, int64_t n);

// out = a op b; out is contiguous of `shape`, the inputs are read with strides in elements, 0 along dims that
// broadcast. Recognises the contiguous, scalar and row forms. ndim <= kMaxDims.
template <typename T>
void binary_broadcast(BinaryOp op, T* out, const T* a, const int64_t* a_strides, const T* b, const int64_t* b_strides,
                      const int64_t* shape, int ndim);

// The same for comparisons; out holds 0 or 1. T: float, double, int32_t, int64_t, uint8_t.
template <typename T>
void compare_broadcast(CompareOp op, uint8_t* out, const T* a, const int64_t* a_strides, const T* b,
                       const int64_t* b_strides, const int64_t* shape, int ndim);
template <typename T>
void compare_scalar(CompareOp op, uint8_t* out, const T* x, T c, int64_t n);

// out = condition ? a : b; a condition is any byte that is not 0. T: float, double, int32_t, int64_t,
// uint8_t.
template <typename T>
void where(T* out, const uint8_t* condition, const T* a, const T* b, int64_t n);
template <typename T>
void where_broadcast(T* out, const uint8_t* condition, const int64_t* condition_strides, const T* a,
                     const int64_t* a_strides, const T* b, const int64_t* b_strides, const int64_t* shape, int ndim);

// strides[i] of a contiguous or broadcast operand of `operand_shape` (aligned at the last dim, size 1 or
// absent dims broadcast) against `shape`: what binary_broadcast wants.
void broadcast_strides(int64_t* strides, const int64_t* operand_shape, int operand_ndim, const int64_t* shape,
                       int ndim);

// ---- Sums and checks ----

template <typename T>
void add_in_place(T* accumulator, const T* x, int64_t n);  // accumulator += x
template <typename T>
void add_to(T* out, const T* a, const T* b, int64_t n);  // out = a + b
template <typename T>
void add_scaled(T* accumulator, T scale, const T* x, int64_t n);  // accumulator += scale x
template <typename T>
void scale_to(T* out, T scale, const T* x, int64_t n);  // out = scale x
template <typename T>
bool any_nonfinite(const T* x, int64_t n);  // some +-inf or NaN

// ---- Fused with a bias ----

// pre[m,n] = x + bias[n] is written too when `pre` is not null: the backward of gelu wants it.
template <typename T>
void bias_gelu(T* out, T* pre, const T* x, const T* bias, int64_t m, int64_t n);

}  // namespace troupe::cpu
