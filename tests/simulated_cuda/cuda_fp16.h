// The names of CUDA's header for what runtime/base has.
#pragma once

#include "runtime/base/float16.h"

// NOLINTBEGIN: names that CUDA has chosen
using __half = troupe::Float16;
inline __half __float2half_rn(float x) { return __half(x); }
inline float __half2float(__half x) { return x; }
// NOLINTEND
