#include "ops/cpu/movement.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ops/cpu/simd.h"
#include "ops/cpu/strided_loop.h"

namespace troupe::cpu {
namespace {

// dst[cols][rows] = src[rows][cols] transposed, with leading dimensions in elements.
template <typename T>
void transpose_matrix(T* dst, int64_t dst_step, const T* src, int64_t src_step, int64_t rows, int64_t cols) {
  constexpr int64_t block = sizeof(T) == 4 ? 16 : 8;
  for (int64_t i = 0; i < rows; i += block) {
    for (int64_t j = 0; j < cols; j += block) {
      if constexpr (std::is_floating_point_v<T>) {
        if (i + block <= rows && j + block <= cols) {
          Vec<T> tile[kLanes<T>];
          for (int64_t r = 0; r < block; ++r) tile[r] = load(src + (i + r) * src_step + j);
          transpose<T>(tile);
          for (int64_t c = 0; c < block; ++c) store(dst + (j + c) * dst_step + i, tile[c]);
          continue;
        }
      }
      for (int64_t c = j; c < std::min(cols, j + block); ++c) {
        for (int64_t r = i; r < std::min(rows, i + block); ++r) {
          std::memcpy(dst + c * dst_step + r, src + r * src_step + c, sizeof(T));
        }
      }
    }
  }
}

// The two innermost dims are a transposition: the source is contiguous along the second last dim of dst.
template <typename T>
void copy_transposed(T* dst, const T* src, const StridedLoop<2>& loop) {
  StridedLoop<2> planes = loop;
  const int last = loop.ndim - 1;
  planes.size[last - 1] = 1;
  planes.size[last] = 1;
  planes.for_each_row([&](const int64_t* at) {
    transpose_matrix(dst + at[0], loop.stride[0][last - 1], src + at[1], loop.stride[1][last], loop.size[last],
                     loop.size[last - 1]);
  });
}

template <typename T>
void copy_elements(T* dst, const T* src, const StridedLoop<2>& loop) {
  const int last = loop.ndim - 1;
  const bool transposed = loop.ndim >= 2 && loop.stride[0][last] == 1 && loop.stride[1][last - 1] == 1;
  if (transposed && loop.stride[1][last] > 1) return copy_transposed(dst, src, loop);
  const int64_t n = loop.row_size();
  const int64_t to_step = loop.row_stride(0);
  const int64_t from_step = loop.row_stride(1);
  loop.for_each_row([&](const int64_t* at) {
    T* to = dst + at[0];
    const T* from = src + at[1];
    if (to_step == 1 && from_step == 1) {
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
    } else {
      for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * to_step, from + i * from_step, sizeof(T));
    }
  });
}

struct Bytes16 {
  uint64_t word[2];
};

void copy_loop(void* dst, const void* src, const int64_t* dst_strides, const int64_t* src_strides, const int64_t* shape,
               int ndim, int64_t elem_size) {
  const StridedLoop<2> loop(shape, {dst_strides, src_strides}, ndim);
  switch (elem_size) {
    case 1:
      return copy_elements(static_cast<uint8_t*>(dst), static_cast<const uint8_t*>(src), loop);
    case 2:
      return copy_elements(static_cast<uint16_t*>(dst), static_cast<const uint16_t*>(src), loop);
    // Moves keep every bit, so the vectors may be called float and double.
    case 4:
      return copy_elements(static_cast<float*>(dst), static_cast<const float*>(src), loop);
    case 8:
      return copy_elements(static_cast<double*>(dst), static_cast<const double*>(src), loop);
    case 16:
      return copy_elements(static_cast<Bytes16*>(dst), static_cast<const Bytes16*>(src), loop);
    default:
      break;
  }
  const size_t size = static_cast<size_t>(elem_size);
  loop.for_each_row([&](const int64_t* at) {
    for (int64_t i = 0; i < loop.row_size(); ++i) {
      std::memcpy(static_cast<char*>(dst) + (at[0] + i * loop.row_stride(0)) * elem_size,
                  static_cast<const char*>(src) + (at[1] + i * loop.row_stride(1)) * elem_size, size);
    }
  });
}

int64_t box_offset(const int64_t* strides, const int64_t* offset, int ndim) {
  int64_t sum = 0;
  for (int d = 0; d < ndim; ++d) sum += strides[d] * offset[d];
  return sum;
}

template <typename To, typename From>
To convert(From x) {
  if constexpr (LowFloat<From>) {
    return convert<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, uint8_t>) {
    return x != From(0) ? 1 : 0;
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    // 2^31 and 2^63 are exact in both float types; the largest integers are not.
    constexpr From bound = -static_cast<From>(std::numeric_limits<To>::min());
    if (x != x) return 0;
    if (x >= bound) return std::numeric_limits<To>::max();
    return x < -bound ? std::numeric_limits<To>::min() : static_cast<To>(x);
  } else if constexpr (std::is_same_v<To, int32_t> && std::is_same_v<From, int64_t>) {
    return static_cast<To>(std::clamp<int64_t>(x, std::numeric_limits<To>::min(), std::numeric_limits<To>::max()));
  } else if constexpr (std::is_same_v<From, uint8_t>) {
    return static_cast<To>(x != 0);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace

void permute(void* dst, const void* src, const int64_t* shape, const int* perm, int ndim, int64_t elem_size) {
  int64_t src_strides[kMaxDims];
  contiguous_strides(src_strides, shape, ndim);
  int64_t strides[kMaxDims];
  int64_t dst_shape[kMaxDims];
  for (int d = 0; d < ndim; ++d) {
    strides[d] = src_strides[perm[d]];
    dst_shape[d] = shape[perm[d]];
  }
  copy_strided(dst, src, strides, dst_shape, ndim, elem_size);
}

void copy_strided(void* dst, const void* src, const int64_t* src_strides, const int64_t* shape, int ndim,
                  int64_t elem_size) {
  int64_t dst_strides[kMaxDims];
  contiguous_strides(dst_strides, shape, ndim);
  copy_loop(dst, src, dst_strides, src_strides, shape, ndim, elem_size);
}

void copy_part(void* dst, const void* src, int64_t bytes, int64_t whole) {
  auto* to = static_cast<std::byte*>(dst);
  const auto* from = static_cast<const std::byte*>(src);
  if (whole >= kStreamedBytes) {
    constexpr int64_t line = sizeof(Vec<float>);
    const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % line);
    const int64_t head = std::min(bytes, past == 0 ? 0 : line - past);
    std::memcpy(to, from, static_cast<size_t>(head));
    const int64_t end = head + (bytes - head) / line * line;
    for (int64_t at = head; at < end; at += line) {
      stream(reinterpret_cast<float*>(to + at), load(reinterpret_cast<const float*>(from + at)));
    }
    stream_fence();
    to += end;
    from += end;
    bytes -= end;
  }
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

void copy_box(void* dst, const int64_t* dst_shape, const int64_t* dst_offset, const void* src, const int64_t* src_shape,
              const int64_t* src_offset, const int64_t* extent, int ndim, int64_t elem_size) {
  int64_t dst_strides[kMaxDims];
  int64_t src_strides[kMaxDims];
  contiguous_strides(dst_strides, dst_shape, ndim);
  contiguous_strides(src_strides, src_shape, ndim);
  char* to = static_cast<char*>(dst) + box_offset(dst_strides, dst_offset, ndim) * elem_size;
  const char* from = static_cast<const char*>(src) + box_offset(src_strides, src_offset, ndim) * elem_size;
  copy_loop(to, from, dst_strides, src_strides, extent, ndim, elem_size);
}

template <typename T>
void add_box(T* dst, const int64_t* dst_shape, const int64_t* dst_offset, const T* src, const int64_t* src_shape,
             const int64_t* src_offset, const int64_t* extent, int ndim) {
  int64_t dst_strides[kMaxDims];
  int64_t src_strides[kMaxDims];
  contiguous_strides(dst_strides, dst_shape, ndim);
  contiguous_strides(src_strides, src_shape, ndim);
  T* to = dst + box_offset(dst_strides, dst_offset, ndim);
  const T* from = src + box_offset(src_strides, src_offset, ndim);
  const StridedLoop<2> loop(extent, {dst_strides, src_strides}, ndim);
  loop.for_each_row([&](const int64_t* at) {
    T* t = to + at[0];
    const T* f = from + at[1];
    const int64_t n = loop.row_size();
    if (loop.row_stride(0) == 1 && loop.row_stride(1) == 1) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) t[i] += f[i];
    } else {
      for (int64_t i = 0; i < n; ++i) t[i * loop.row_stride(0)] += f[i * loop.row_stride(1)];
    }
  });
}

template <typename T>
void fill_box(T* dst, const int64_t* dst_shape, const int64_t* offset, const int64_t* extent, int ndim, T value) {
  int64_t strides[kMaxDims];
  contiguous_strides(strides, dst_shape, ndim);
  T* to = dst + box_offset(strides, offset, ndim);
  const StridedLoop<1> loop(extent, {strides}, ndim);
  loop.for_each_row([&](const int64_t* at) {
    for (int64_t i = 0; i < loop.row_size(); ++i) to[at[0] + i * loop.row_stride(0)] = value;
  });
}

template <typename T>
void fill(T* dst, T value, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = value;
}

template <typename T>
void arange(T* dst, T start, T step, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = start + static_cast<T>(i) * step;
}

template <typename To, typename From>
void cast(To* dst, const From* src, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (LowFloat<To>) {
      dst[i].bits = convert<To, From>(src[i]).bits;  // of whole structs compilers make no vectors
    } else {
      dst[i] = convert<To, From>(src[i]);
    }
  }
}

template <typename T>
struct MoveInstances {
  static constexpr auto m0 = fill_box<T>;
  static constexpr auto m1 = fill<T>;
  static constexpr auto m2 = cast<T, float>;
  static constexpr auto m3 = cast<T, double>;
  static constexpr auto m4 = cast<T, int32_t>;
  static constexpr auto m5 = cast<T, int64_t>;
  static constexpr auto m6 = cast<T, uint8_t>;
  static constexpr auto m7 = cast<T, BFloat16>;
  static constexpr auto m8 = cast<T, Float16>;
};
template struct MoveInstances<float>;
template struct MoveInstances<double>;
template struct MoveInstances<int32_t>;
template struct MoveInstances<int64_t>;
template struct MoveInstances<uint8_t>;
template struct MoveInstances<BFloat16>;
template struct MoveInstances<Float16>;

template <typename T>
struct NumberInstances {
  static constexpr auto n0 = add_box<T>;
  static constexpr auto n1 = arange<T>;
};
template struct NumberInstances<float>;
template struct NumberInstances<double>;
template struct NumberInstances<int32_t>;
template struct NumberInstances<int64_t>;

}  // namespace troupe::cpu
