#include "ops/cpu/gemm.h"

#include <dnnl.h>

#include <algorithm>

#include "ops/cpu/one_thread.h"
#include "ops/cpu/simd.h"

namespace troupe::cpu {
namespace {

// float goes to oneDNN, double to the kernel below. GFLOP/s on one thread, where float multiply-adds alone reach 195:
// "oneDNN 2.6.3 / this kernel, this kernel for double". OpenBLAS 0.3.21 takes newer cores for old ones: 33 and 32.
//   m x n x k          a b            a^T b          a b^T
//   256 x 256 x 256    173 / 166, 83  169 / 168, 79  159 / 166, 81
//   256 x 1024 x 256   179 / 159, 74  172 / 155, 70  167 / 156, 75
//   256 x 256 x 1024   173 / 160, 78  166 / 155, 72  142 / 156, 75
//   1024 x 256 x 1024  169 / 155, 73  135 / 136, 44  156 / 154, 73
//   1024 x 768 x 256   184 / 166, 70  177 / 146, 48  172 / 166, 71
//   128 x 512 x 64     171 / 158, 78  175 / 157, 78  159 / 157, 79
//   256 x 256 x 32     168 / 139, 75  166 / 140, 76  163 / 139, 77

// A tile of c is kRows x kColumns * kLanes: 24 accumulators, 4 vectors of b and a broadcast element of a fill
// the 32 vector registers. One panel of b (kDepth x the tile's width) is packed on the stack and stays in
// cache while all rows of a pass.
constexpr int kRows = 6;
constexpr int kColumns = 4;
constexpr int64_t kDepth = 256;

template <typename T>
constexpr int64_t kWidth = kColumns * kLanes<T>;

// panel[p][0..width) = op(b)[p][0..columns), zero beyond.
template <typename T>
void pack_panel(T* panel, bool trans_b, const T* b, int64_t ldb, int64_t depth, int64_t columns) {
  constexpr int64_t lanes = kLanes<T>;
  if (!trans_b) {
    for (int64_t p = 0; p < depth; ++p) {
      T* row = panel + p * kWidth<T>;
      const T* from = b + p * ldb;
      if (columns == kWidth<T>) {
        for (int64_t j = 0; j < kWidth<T>; j += lanes) store(row + j, load(from + j));
      } else {
        for (int64_t j = 0; j < kWidth<T>; ++j) row[j] = j < columns ? from[j] : T(0);
      }
    }
    return;
  }
  for (int64_t j = 0; j < kWidth<T>; j += lanes) {
    for (int64_t p = 0; p < depth; p += lanes) {
      const int64_t count = std::min(lanes, depth - p);
      Vec<T> tile[lanes];
      for (int64_t i = 0; i < lanes; ++i) {
        const T* from = b + (j + i) * ldb + p;
        tile[i] = j + i >= columns ? Vec<T>{} : count == lanes ? load(from) : load_part(from, count);
      }
      transpose<T>(tile);
      for (int64_t i = 0; i < count; ++i) store(panel + (p + i) * kWidth<T> + j, tile[i]);
    }
  }
}

// c[Rows][columns] = alpha a panel + beta c. Element (i, p) of a is a[i * row_step + p * depth_step].
template <typename T, int Rows>
void tile(const T* a, int64_t row_step, int64_t depth_step, const T* panel, int64_t depth, T alpha, T beta, T* c,
          int64_t ldc, int64_t columns) {
  Vec<T> acc[Rows][kColumns] = {};
  for (int64_t p = 0; p < depth; ++p) {
    Vec<T> row[kColumns];
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) row[j] = load(panel + p * kWidth<T> + j * kLanes<T>);
    const T* column = a + p * depth_step;
#pragma GCC unroll 6
    for (int i = 0; i < Rows; ++i) {
      const Vec<T> x = splat(column[i * row_step]);
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) acc[i][j] += x * row[j];
    }
  }
  const bool keep = beta != T(0);
#pragma GCC unroll 6
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) {
      T* to = c + i * ldc + j * kLanes<T>;
      const int64_t count = std::min(kLanes<T>, columns - j * kLanes<T>);
      if (count == kLanes<T>) {
        store(to, keep ? alpha * acc[i][j] + beta * load(to) : alpha * acc[i][j]);
      } else if (count > 0) {
        store_part(to, keep ? alpha * acc[i][j] + beta * load_part(to, count) : alpha * acc[i][j], count);
      }
    }
  }
}

template <typename T>
void row_tail(int64_t rows, const T* a, int64_t row_step, int64_t depth_step, const T* panel, int64_t depth, T alpha,
              T beta, T* c, int64_t ldc, int64_t columns) {
  switch (rows) {
    case 5:
      return tile<T, 5>(a, row_step, depth_step, panel, depth, alpha, beta, c, ldc, columns);
    case 4:
      return tile<T, 4>(a, row_step, depth_step, panel, depth, alpha, beta, c, ldc, columns);
    case 3:
      return tile<T, 3>(a, row_step, depth_step, panel, depth, alpha, beta, c, ldc, columns);
    case 2:
      return tile<T, 2>(a, row_step, depth_step, panel, depth, alpha, beta, c, ldc, columns);
    case 1:
      return tile<T, 1>(a, row_step, depth_step, panel, depth, alpha, beta, c, ldc, columns);
    default:
      return;
  }
}

template <typename T>
void gemm_blocked(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                  const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  alignas(64) T panel[kDepth * kWidth<T>];
  const int64_t row_step = trans_a ? 1 : lda;
  const int64_t depth_step = trans_a ? lda : 1;
  for (int64_t p = 0; p < k; p += kDepth) {
    const int64_t depth = std::min(kDepth, k - p);
    const T keep = p == 0 ? beta : T(1);
    for (int64_t j = 0; j < n; j += kWidth<T>) {
      const int64_t columns = std::min(kWidth<T>, n - j);
      pack_panel(panel, trans_b, trans_b ? b + j * ldb + p : b + p * ldb + j, ldb, depth, columns);
      const T* left = a + p * depth_step;
      int64_t i = 0;
      for (; i + kRows <= m; i += kRows) {
        tile<T, kRows>(left + i * row_step, row_step, depth_step, panel, depth, alpha, keep, c + i * ldc + j, ldc,
                       columns);
      }
      row_tail(m - i, left + i * row_step, row_step, depth_step, panel, depth, alpha, keep, c + i * ldc + j, ldc,
               columns);
    }
  }
}

void multiply(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
              const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  const OneThread one_thread;
  const dnnl_status_t status =
      dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  // Arguments that oneDNN refuses (a leading dimension of a single row, say).
  if (status != dnnl_success) gemm_blocked(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void multiply(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda,
              const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  gemm_blocked(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace

template <typename T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b,
          int64_t ldb, T beta, T* c, int64_t ldc) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0 || alpha == T(0)) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
    }
    return;
  }
  multiply(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <typename T>
void batched_gemm(bool trans_a, bool trans_b, int64_t batch, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                  int64_t lda, int64_t stride_a, const T* b, int64_t ldb, int64_t stride_b, T beta, T* c, int64_t ldc,
                  int64_t stride_c) {
  for (int64_t i = 0; i < batch; ++i) {
    gemm(trans_a, trans_b, m, n, k, alpha, a + i * stride_a, lda, b + i * stride_b, ldb, beta, c + i * stride_c, ldc);
  }
}

template <typename T>
void gemm_bias(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
               int64_t ldb, const T* bias, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) std::copy(bias, bias + std::max<int64_t>(n, 0), c + i * ldc);
  gemm(trans_a, trans_b, m, n, k, T(1), a, lda, b, ldb, T(1), c, ldc);
}

template void gemm<float>(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*, int64_t,
                          float, float*, int64_t);
template void gemm<double>(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t, const double*,
                           int64_t, double, double*, int64_t);
template void batched_gemm<float>(bool, bool, int64_t, int64_t, int64_t, int64_t, float, const float*, int64_t, int64_t,
                                  const float*, int64_t, int64_t, float, float*, int64_t, int64_t);
template void batched_gemm<double>(bool, bool, int64_t, int64_t, int64_t, int64_t, double, const double*, int64_t,
                                   int64_t, const double*, int64_t, int64_t, double, double*, int64_t, int64_t);
template void gemm_bias<float>(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t,
                               const float*, float*, int64_t);
template void gemm_bias<double>(bool, bool, int64_t, int64_t, int64_t, const double*, int64_t, const double*, int64_t,
                                const double*, double*, int64_t);

}  // namespace troupe::cpu
