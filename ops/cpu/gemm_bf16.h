// Matrix products of bfloat16: every sum is float32 and rounded once, when it is stored.
//
// On one thread, as ops/cpu/gemm.h has it; the result's bits depend on shapes, transposition, data and the instructions
// of the CPU only.
#pragma once

#include <cstdint>

#include "runtime/base/bfloat16.h"

namespace troupe::cpu {

// Whether the CPU multiplies bfloat16 itself: AVX512-BF16, which CPUs with AMX have too.
bool multiplies_bf16();

// c[m,n] = op(a) op(b) + bias[n]; bias may be null. Forms and leading dimensions as in gemm. C: BFloat16, float.
template <typename C>
void gemm_bf16(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const BFloat16* a, int64_t lda,
               const BFloat16* b, int64_t ldb, const BFloat16* bias, C* c, int64_t ldc);

// The same with float32 instructions, which gemm_bf16 takes where there are no others.
template <typename C>
void gemm_bf16_in_float32(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const BFloat16* a, int64_t lda,
                          const BFloat16* b, int64_t ldb, const BFloat16* bias, C* c, int64_t ldc);

}  // namespace troupe::cpu
