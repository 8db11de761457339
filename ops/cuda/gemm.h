// Matrix products on a CUDA device: by cuBLASLt where the stream's queue has it and it takes the product (cublas_products.h),
// and otherwise by a kernel of our own. Sums are made in the type that the operands are computed with, and rounded once. Our
// kernel's go over k in order, so that the bits of a result depend on its row of a, its column of b and the bias alone; the
// library's depend on the shapes too.
#pragma once

#include "runtime/device/kernel.h"

namespace troupe::cuda {

// Rows that are not there, of the buffers of experts: of each `places` rows only the first counts[i] - first_place are,
// where i counts the groups of `places` rows over all of the batch. Nothing is read of the others.
struct GemmRows {
  enum class Of { none, a, inner };  // of the rows of c (those are 0), or of what is summed over
  Of of = Of::none;
  const int32_t* counts = nullptr;
  int64_t places = 1;
  int64_t first_place = 0;
};

// c[m,n] = alpha op(a) op(b) + beta c + bias[n] for each of the batch, with op(a)[m,k] and op(b)[k,n]. trans_a: a is stored
// [k,m]; trans_b: b is stored [n,k]. Rows of a stored matrix are ld_ elements apart, matrices stride_; b changes after every
// `b_group` products. With beta = 0, c is written without being read.
struct Gemm {
  DType dtype = DType::f32;      // of a, b and bias: f32, f64, bf16, f16
  DType out_dtype = DType::f32;  // the same, or f32 for bf16 and f16
  bool trans_a = false, trans_b = false;
  int64_t batch = 1, m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t lda = 0, stride_a = 0;
  const void* b = nullptr;
  int64_t ldb = 0, stride_b = 0, b_group = 1;
  const void* bias = nullptr;  // null: none
  void* c = nullptr;
  int64_t ldc = 0, stride_c = 0;
  double alpha = 1, beta = 0;
  GemmRows rows = {};
};

void gemm(const Gemm& gemm, Stream& stream);

}  // namespace troupe::cuda
