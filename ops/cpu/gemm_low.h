// Matrix products of bfloat16 and float16: every sum is float32 and rounded once, when it is stored.
//
// On one thread, as ops/cpu/gemm.h has it; the result's bits depend on shapes, transposition, data and the instructions
// of the CPU only.
#pragma once

#include <cstdint>

#include "runtime/base/dtype.h"

namespace troupe::cpu {

// Whether the CPU multiplies bfloat16 itself: AVX512-BF16, which CPUs with AMX have too.
bool multiplies_bf16();

// c[m,n] = op(a) op(b) + bias[n]; bias may be null. Forms and leading dimensions as in gemm. C: T, float.
template <LowFloat T, typename C>
void gemm_low(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
              int64_t ldb, const T* bias, C* c, int64_t ldc);

// The same with float32 instructions, which gemm_low takes where there are no others.
template <LowFloat T, typename C>
void gemm_low_in_float32(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
                         const T* b, int64_t ldb, const T* bias, C* c, int64_t ldc);

}  // namespace troupe::cpu
