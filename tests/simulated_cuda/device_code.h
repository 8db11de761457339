// What CUDA C++ has beside C++, as far as the kernels in ops/cuda use it, for compilers that do not know it: the same
// source runs on the CPU, in a grid that is simulated (grid.h).
//
// Shared memory is the dynamic one alone, as one block for the whole kernel (ops/cuda/device.h).
#pragma once

#include <math.h>

#include <atomic>
#include <cstdint>
#include <cstring>

// NOLINTBEGIN: names that CUDA has chosen
#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Of the thread of the grid that runs now.
extern constinit uint3 threadIdx;
extern constinit uint3 blockIdx;
extern constinit dim3 blockDim;
extern constinit dim3 gridDim;

namespace troupe::simulated {

constexpr int kWarp = 32;

void wait_at_barrier();
// Waits until all lanes of `mask` have come, and returns the bits that lane `source` brought.
uint64_t exchange(unsigned mask, uint64_t bits, int source);
// The lanes of `mask` for which `predicate` holds.
unsigned ballot(unsigned mask, bool predicate);
// Waits until all lanes of the warp have come, for the same: the last one does it with what they brought.
using Together = void (*)(const uint64_t (&brought)[kWarp]);
void do_together(uint64_t brought, Together what);
// For what is done together: eight rows of 16 bytes of shared memory that are read at once, in as many cycles as most of
// them share a bank.
void read_rows(const unsigned char* const (&rows)[8]);

// Copies into shared memory of which nothing is seen before the thread waits for them. What is read is `given` of the
// `bytes`; the rest becomes zero.
void copy_later(void* to, const void* from, int bytes, int given);
void close_copies();            // those since the last call are a group
void wait_for_copies(int but);  // for all groups but the last so many

inline int lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kWarp);
}

// Lanes of other groups of `width` lanes, and those beyond the warp, are not read: a lane gets its own value then.
template <class T>
T shuffled(unsigned mask, T value, int source, int width) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const int own = lane();
  if (source < 0 || source >= kWarp || source / width != own / width) source = own;
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, source);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace troupe::simulated

inline void __syncthreads() { troupe::simulated::wait_at_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { troupe::simulated::exchange(mask, 0, troupe::simulated::lane()); }
inline unsigned __ballot_sync(unsigned mask, int predicate) { return troupe::simulated::ballot(mask, predicate != 0); }
// Blocks run one after another, and threads switch at barriers and exchanges alone.
inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned value) {
  const unsigned old = *at;
  if (old == expected) *at = value;
  return old;
}
inline void __threadfence_system() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = troupe::simulated::kWarp) {
  const int group = troupe::simulated::lane() / width * width;
  return troupe::simulated::shuffled(mask, value, group + source % width, width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = troupe::simulated::kWarp) {
  return troupe::simulated::shuffled(mask, value, troupe::simulated::lane() ^ lanes, width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = troupe::simulated::kWarp) {
  return troupe::simulated::shuffled(mask, value, troupe::simulated::lane() + static_cast<int>(by), width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = troupe::simulated::kWarp) {
  return troupe::simulated::shuffled(mask, value, troupe::simulated::lane() - static_cast<int>(by), width);
}

inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
// NOLINTEND
