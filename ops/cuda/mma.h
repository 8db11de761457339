// Instructions for tensor cores (sm_80 and newer): products of small matrices that the 32 lanes of a warp hold together,
// the loads that put them into the lanes' registers, and copies into shared memory that go on beside other work.
//
// T is __nv_bfloat16 or __half, two of them in 32 bits, the first in the lower half. With g = lane / 4 and t = lane % 4, a
// lane holds of the matrices (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type"):
//   a     16 x 16   a[0]: row g, columns 2t, 2t+1; a[1]: row g + 8; a[2], a[3]: the same, 8 columns further
//   b     16 x 8    b0: rows 2t, 2t+1, column g; b1: 8 rows further
//   sums  16 x 8    sums[0], sums[1]: row g, columns 2t, 2t+1; sums[2], sums[3]: row g + 8
// Two neighbouring tiles of sums, packed, are an `a`. All lanes of a warp must call these functions together, but those that
// copy, pack or compute.
#pragma once

#include "ops/cuda/numbers.h"

#ifdef __CUDACC__

namespace troupe::cuda {

// sums += a b, in float32.
template <class T>
__device__ __forceinline__ void mma(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    static_assert(std::is_same_v<T, __half>);
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// Of shared memory, in bytes: what is a multiple of 128 has an address that is.
using SharedAddress = uint32_t;
__device__ __forceinline__ SharedAddress shared_address(const void* p) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(p));
}

// Four matrices of 8 x 8 from shared memory: lane 8 m + i names row i of matrix m, 16 bytes at a multiple of 16. Of matrix m
// a lane gets row g, columns 2t and 2t+1, in to[m].
__device__ __forceinline__ void load_matrices(uint32_t (&to)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}
// Of matrix m a lane gets rows 2t and 2t+1 of column g.
__device__ __forceinline__ void load_transposed(uint32_t (&to)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

// Starts a copy of 8 or 16 bytes, so aligned, into shared memory; zeros where `is_there` is false, and then `from` is not
// read. The copies of a thread are there for it when it has waited for them, and for others behind a barrier.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool is_there) {
  static_assert(kBytes == 8 || kBytes == 16);
  const int given = is_there ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(given)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(to)), "l"(from), "r"(given)
                 : "memory");
  }
}
// Makes a group of the copies that have started since the last call.
__device__ __forceinline__ void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all groups but the last kBut.
template <int kBut>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kBut) : "memory");
}

template <class T>
__device__ __forceinline__ uint32_t packed(float low, float high) {
  uint32_t both;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  }
  return both;
}

// 2^x with an error of 2 units in the last place; exactly 1 at 0, and 0 at -infinity.
__device__ __forceinline__ float exp2_approximately(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

}  // namespace troupe::cuda

#else
#include <cuda_ptx.h>  // comes with the simulated grid alone
#endif
