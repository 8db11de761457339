// The largest number of dims that the kernels of this folder take; their loops keep counters of that size on
// the stack.
#pragma once

namespace troupe::cpu {

inline constexpr int kMaxDims = 8;

}  // namespace troupe::cpu
