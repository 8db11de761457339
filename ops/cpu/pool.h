// Pools: one number for each window of a plane x[h,w], over `planes` planes. T: float, double. All functions are
// re-entrant; sums go along the rows of a window and are carried in double.
#pragma once

#include <array>
#include <cstdint>

namespace troupe::cpu {

// Windows of kernel[d] elements, dilation[d] apart, in steps of stride[d], over planes with padding[d] around them.
struct MovingWindows {
  std::array<int64_t, 2> in_size{}, out_size{}, kernel{}, stride{}, padding{}, dilation{1, 1};
  bool padding_counts = true;  // in a mean
};

// y[p,q] = the largest element of the window, NaN if there is one; padding never is the largest.
template <typename T>
void max_pool(const MovingWindows& windows, int64_t planes, T* y, const T* x);

// dx: dy of each window goes to its first largest element, or its first NaN.
template <typename T>
void max_pool_gradient(const MovingWindows& windows, int64_t planes, T* dx, const T* dy, const T* x);

// y[p,q] = the sum over the window by its size: all of the kernel, or what of it is no padding. dilation is 1.
template <typename T>
void average_pool(const MovingWindows& windows, int64_t planes, T* y, const T* x);
template <typename T>
void average_pool_gradient(const MovingWindows& windows, int64_t planes, T* dx, const T* dy);

// Means over windows that share a plane out among out_size: from floor(i in / out) up to ceil((i + 1) in / out).
struct SharedOut {
  std::array<int64_t, 2> in_size{}, out_size{};
};
template <typename T>
void average_pool(const SharedOut& windows, int64_t planes, T* y, const T* x);
template <typename T>
void average_pool_gradient(const SharedOut& windows, int64_t planes, T* dx, const T* dy);

}  // namespace troupe::cpu
