// Convolutions over the last two dims of x[n,c,h,w] with w[out,c/groups,kh,kw], and their gradients
// (cross-correlations, as the field calls them convolutions).
//
// float and BFloat16 go to oneDNN, double to plain loops. Each call runs on the calling thread alone, and its bits
// depend on shapes and data only.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/base/bfloat16.h"

namespace troupe::cpu {

// Sizes of one convolution; [0] is along h, [1] along w.
struct ConvSizes {
  int64_t batch = 0, channels = 0, out = 0, groups = 1;
  std::array<int64_t, 2> in_size{}, kernel{}, out_size{}, stride{}, padding{}, dilation{};
  auto operator<=>(const ConvSizes&) const = default;
  // No multiplication is to be done: a sum over nothing, or nothing to write.
  bool is_empty() const { return batch * channels * out * out_size[0] * out_size[1] == 0; }
};

enum class ConvPass : uint8_t { forward, input_gradient, weight_gradient };

// The scratch that a pass of these sizes needs; `bf16`: on BFloat16. Creates what the pass runs, for this thread.
int64_t conv_scratch_bytes(ConvPass pass, const ConvSizes& sizes, bool bias, bool bf16);

// y[n,out,oh,ow]; bias[out] may be null. T: float, double, BFloat16 (multiplies_bf16()).
template <typename T>
void conv(const ConvSizes& sizes, T* y, const T* x, const T* w, const T* bias, std::span<std::byte> scratch);

// dx[n,c,h,w].
template <typename T>
void conv_input_gradient(const ConvSizes& sizes, T* dx, const T* dy, const T* w, std::span<std::byte> scratch);

// dw[out,c/groups,kh,kw]. Dw is T, and float for BFloat16.
template <typename T, typename Dw>
void conv_weight_gradient(const ConvSizes& sizes, Dw* dw, const T* x, const T* dy, std::span<std::byte> scratch);

}  // namespace troupe::cpu
