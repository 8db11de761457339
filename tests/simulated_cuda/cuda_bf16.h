// The names of CUDA's header for what runtime/base has.
#pragma once

#include "runtime/base/bfloat16.h"

// NOLINTBEGIN: names that CUDA has chosen
using __nv_bfloat16 = troupe::BFloat16;
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
// NOLINTEND
