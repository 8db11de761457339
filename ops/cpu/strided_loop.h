// Walks several strided operands of one shape together. Internal to ops/cpu.
#pragma once

#include <cassert>
#include <cstdint>

#include "ops/cpu/dims.h"

namespace troupe::cpu {

// A shape and, per operand, a stride per dim, reduced to the fewest dims that visit the same places in the
// same order.
template <int Operands>
struct StridedLoop {
  int ndim = 0;
  int64_t size[kMaxDims + 1];
  int64_t stride[Operands][kMaxDims + 1];

  StridedLoop(const int64_t* shape, const int64_t* const (&strides)[Operands], int dims) {
    assert(dims <= kMaxDims);
    for (int d = 0; d < dims; ++d) {
      if (shape[d] == 1) continue;
      bool merges = ndim > 0;
      for (int o = 0; o < Operands && merges; ++o) merges = stride[o][ndim - 1] == strides[o][d] * shape[d];
      if (merges) {
        size[ndim - 1] *= shape[d];
      } else {
        size[ndim++] = shape[d];
      }
      for (int o = 0; o < Operands; ++o) stride[o][ndim - 1] = strides[o][d];
    }
    if (ndim == 0) {
      size[ndim++] = 1;
      for (int o = 0; o < Operands; ++o) stride[o][0] = 1;
    }
  }

  int64_t row_size() const { return size[ndim - 1]; }
  int64_t row_stride(int operand) const { return stride[operand][ndim - 1]; }

  // f(offsets) for every row along the last dim, in row-major order; offsets[o] is where operand o's row
  // begins.
  template <typename F>
  void for_each_row(F f) const {
    for (int d = 0; d < ndim; ++d) {
      if (size[d] <= 0) return;
    }
    int64_t index[kMaxDims + 1] = {};
    int64_t offsets[Operands] = {};
    while (true) {
      f(static_cast<const int64_t*>(offsets));
      int d = ndim - 2;
      for (; d >= 0; --d) {
        for (int o = 0; o < Operands; ++o) offsets[o] += stride[o][d];
        if (++index[d] < size[d]) break;
        for (int o = 0; o < Operands; ++o) offsets[o] -= stride[o][d] * size[d];
        index[d] = 0;
      }
      if (d < 0) return;
    }
  }
};

// Row-major strides of a contiguous tensor.
inline void contiguous_strides(int64_t* strides, const int64_t* shape, int ndim) {
  int64_t step = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    strides[d] = step;
    step *= shape[d];
  }
}

}  // namespace troupe::cpu
