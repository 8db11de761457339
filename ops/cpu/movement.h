// Moving elements: permutations, boxes between buffers, fills and casts. Nothing is computed, except in
// add_box.
//
// Shapes and offsets are in elements, ndim <= kMaxDims; ndim = 0 is one element. Elements are any type of
// `elem_size` bytes. Buffers must not overlap. All functions are re-entrant.
#pragma once

#include <cstdint>

#include "runtime/base/dtype.h"

namespace troupe::cpu {

// dst (contiguous) has dim d of size shape[perm[d]], dst[..i_d..] = src[..i at place perm[d]..]: NumPy's
// transpose.
void permute(void* dst, const void* src, const int64_t* shape, const int* perm, int ndim, int64_t elem_size);

// dst (contiguous of `shape`) = src read with strides in elements (0 to broadcast, negative to flip).
void copy_strided(void* dst, const void* src, const int64_t* src_strides, const int64_t* shape, int ndim,
                  int64_t elem_size);

// Bytes that make up a part of a buffer of `whole` bytes: a large buffer is written past the caches.
void copy_part(void* dst, const void* src, int64_t bytes, int64_t whole);

// The box of `extent` at src_offset in a row-major src of src_shape goes to dst_offset in a row-major dst of
// dst_shape. Slices, concatenations and splits are calls of this.
void copy_box(void* dst, const int64_t* dst_shape, const int64_t* dst_offset, const void* src, const int64_t* src_shape,
              const int64_t* src_offset, const int64_t* extent, int ndim, int64_t elem_size);

// The same with dst += src. T: float, double, int32_t, int64_t.
template <typename T>
void add_box(T* dst, const int64_t* dst_shape, const int64_t* dst_offset, const T* src, const int64_t* src_shape,
             const int64_t* src_offset, const int64_t* extent, int ndim);

// The box of `extent` at `offset` in dst = value. T: float, double, BFloat16, Float16, int32_t, int64_t, uint8_t.
template <typename T>
void fill_box(T* dst, const int64_t* dst_shape, const int64_t* offset, const int64_t* extent, int ndim, T value);

// dst[n] = value.
template <typename T>
void fill(T* dst, T value, int64_t n);

// dst[i] = start + i * step. T: float, double, int32_t, int64_t.
template <typename T>
void arange(T* dst, T start, T step, int64_t n);

// Between float, double, BFloat16, Float16, int32_t, int64_t and uint8_t, which is a bool: anything but 0 becomes 1.
// Numbers that do not fit an integer saturate, NaN gives 0.
template <typename To, typename From>
void cast(To* dst, const From* src, int64_t n);

}  // namespace troupe::cpu
