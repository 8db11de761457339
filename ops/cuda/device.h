// What kernels and the functions that start them have in common. The files of this folder are CUDA C++ that a C++ compiler
// takes too, with a simulated grid in place of a device (tests/simulated_cuda).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace troupe::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Threads of a block that has no reason for another number.
constexpr int kThreads = 256;

// Blocks of grids whose threads walk over as many elements as there are: enough to fill any GPU several times.
constexpr int64_t kMostBlocks = 4096;

// Blocks of `per_block` items each that walk over all items together. There must be an item.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  const int64_t blocks = (items + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

__device__ __forceinline__ int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t global_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Division of what is not negative: in 32 bits where they are enough, which takes a quarter of the time.
__device__ __forceinline__ int64_t quotient(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<int64_t>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
  return a / b;
}

}  // namespace troupe::cuda

// The dynamic shared memory of a kernel, which is all that it has.
extern __shared__ __align__(128) unsigned char dynamic_shared[];

namespace troupe::cuda {

// The shared memory as one T; the kernel must be started with sizeof(T) bytes of it.
template <class T>
__device__ __forceinline__ T& shared_memory() {
  return *reinterpret_cast<T*>(dynamic_shared);
}

}  // namespace troupe::cuda
