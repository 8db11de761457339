// Windows that move over the last two dims of x[n,c,h,w], for convolutions and pools.
#pragma once

#include "ops/cuda/device.h"
#include "runtime/base/attrs.h"
#include "runtime/base/shape.h"

namespace troupe::cuda {

// Windows along one dim: `out` of them, of `taps` elements that are `dilation` apart, in steps of `stride`, over `in`
// elements with `padding` before them.
struct Windows {
  int64_t in, out, taps, stride, padding, dilation;

  // Where window i begins: before 0 where it begins in the padding.
  __device__ int64_t first(int64_t i) const { return i * stride - padding; }
};

// Along h (d = 0) or w (d = 1), over planes of x's shape, one for each element of a plane of y's.
inline Windows windows_along(int d, const Attrs& attrs, const Shape& x, const Shape& y, int64_t taps) {
  const auto at = static_cast<size_t>(d);
  return {x[d + 2],
          y[d + 2],
          taps,
          attrs.integers("stride")[at],
          attrs.integers("padding")[at],
          attrs.has("dilation") ? attrs.integers("dilation")[at] : 1};
}

}  // namespace troupe::cuda
