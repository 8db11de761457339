// Matrix products on row-major matrices with leading dimensions.
//
// Each call runs on the calling thread alone; calls from several threads run side by side. The bits of the
// result depend on shapes, transposition, scalars and data only: not on the thread, on the alignment or on
// earlier calls.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// c[m,n] = alpha * op(a) op(b) + beta * c, with op(a)[m,k] and op(b)[k,n]. `trans_a`: a is stored [k,m];
// `trans_b`: b is stored [n,k]. lda, ldb, ldc are the distances between stored rows, in elements. With beta =
// 0, c is written without being read. k = 0 gives beta * c. T: float, double.
template <typename T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b,
          int64_t ldb, T beta, T* c, int64_t ldc);

// The same for `batch` matrices each, `stride_*` elements apart (0 to reuse one matrix for all; not for c).
template <typename T>
void batched_gemm(bool trans_a, bool trans_b, int64_t batch, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                  int64_t lda, int64_t stride_a, const T* b, int64_t ldb, int64_t stride_b, T beta, T* c, int64_t ldc,
                  int64_t stride_c);

// c[m,n] = op(a) op(b) + bias[n] on every row.
template <typename T>
void gemm_bias(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
               int64_t ldb, const T* bias, T* c, int64_t ldc);

}  // namespace troupe::cpu
