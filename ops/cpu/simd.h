// Vectors of 64 bytes for the kernels of this folder, as GCC vector extensions.
//
// Internal to ops/cpu: files that include this must be compiled with the same architecture flags, or inline
// functions of different machine code would share a name.
//
// Every element-wise kernel runs its tail through the same vector code as its body, on a zero-padded copy. So
// the bits of an element never depend on its position, on the length or on the alignment: a shard computes
// what the whole computes.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __AVX__
#include <immintrin.h>
#endif

namespace troupe::cpu {

template <typename T>
struct SimdTypes;

template <>
struct SimdTypes<float> {
  typedef float Vector __attribute__((vector_size(64)));
  typedef int32_t Mask __attribute__((vector_size(64)));
};

template <>
struct SimdTypes<double> {
  typedef double Vector __attribute__((vector_size(64)));
  typedef int64_t Mask __attribute__((vector_size(64)));
};

template <typename T>
using Vec = typename SimdTypes<T>::Vector;

template <typename T>
using VecMask = typename SimdTypes<T>::Mask;

template <typename T>
inline constexpr int64_t kLanes = 64 / static_cast<int64_t>(sizeof(T));

template <typename T>
inline Vec<T> load(const T* from) {
  Vec<T> v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

template <typename T>
inline void store(T* to, Vec<T> v) {
  std::memcpy(to, &v, sizeof(v));
}

template <typename T>
inline Vec<T> splat(T value) {
  return value - Vec<T>{};
}

// The first `count` lanes; the others are `fill`. With masked moves, since a copy of odd size through the
// stack costs a call and a stalled load.
inline Vec<float> load_part(const float* from, int64_t count, float fill = 0.0f) {
  const Vec<float> beyond = splat(fill);
#ifdef __AVX512F__
  const auto mask = static_cast<__mmask16>((1u << count) - 1u);
  return reinterpret_cast<Vec<float>>(_mm512_mask_loadu_ps(reinterpret_cast<__m512>(beyond), mask, from));
#else
  Vec<float> v = beyond;
  std::memcpy(&v, from, static_cast<size_t>(count) * sizeof(float));
  return v;
#endif
}
inline Vec<double> load_part(const double* from, int64_t count, double fill = 0.0) {
  const Vec<double> beyond = splat(fill);
#ifdef __AVX512F__
  const auto mask = static_cast<__mmask8>((1u << count) - 1u);
  return reinterpret_cast<Vec<double>>(_mm512_mask_loadu_pd(reinterpret_cast<__m512d>(beyond), mask, from));
#else
  Vec<double> v = beyond;
  std::memcpy(&v, from, static_cast<size_t>(count) * sizeof(double));
  return v;
#endif
}

inline void store_part(float* to, Vec<float> v, int64_t count) {
#ifdef __AVX512F__
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1u), reinterpret_cast<__m512>(v));
#else
  std::memcpy(to, &v, static_cast<size_t>(count) * sizeof(float));
#endif
}
inline void store_part(double* to, Vec<double> v, int64_t count) {
#ifdef __AVX512F__
  _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1u), reinterpret_cast<__m512d>(v));
#else
  std::memcpy(to, &v, static_cast<size_t>(count) * sizeof(double));
#endif
}

// An output of so many bytes has left the caches when it is read. Where it is written past them, its lines are not read
// before.
inline constexpr int64_t kStreamedBytes = int64_t{8} << 20;

// Past the caches, to an address that is a multiple of 64. Other threads see it after `stream_fence`.
template <typename T>
inline void stream(T* to, Vec<T> v) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(v));
#elif defined(__AVX__)
  __m256i halves[2];
  std::memcpy(halves, &v, sizeof(v));
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), halves[0]);
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to) + 1, halves[1]);
#else
  store(to, v);
#endif
}
inline void stream_fence() {
#ifdef __AVX__
  _mm_sfence();
#endif
}
template <typename T>
inline bool can_stream(const T* to, int64_t elements) {
  return elements * static_cast<int64_t>(sizeof(T)) >= kStreamedBytes &&
         reinterpret_cast<uintptr_t>(to) % sizeof(Vec<T>) == 0;
}

// out[i] = f(in0[i], in1[i], ...), with f on vectors. `out` may be one of the inputs.
template <typename T, typename F, typename... In>
inline void map(int64_t n, T* out, F f, const In*... in) {
  int64_t i = 0;
  for (; i + 2 * kLanes<T> <= n; i += 2 * kLanes<T>) {
    const Vec<T> first = f(load(in + i)...);
    const Vec<T> second = f(load(in + i + kLanes<T>)...);
    store(out + i, first);
    store(out + i + kLanes<T>, second);
  }
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(out + i, f(load(in + i)...));
  if (i < n) store_part(out + i, f(load_part(in + i, n - i)...), n - i);
}

// The same past the caches: see `stream`.
template <typename T, typename F, typename... In>
inline void map_streamed(int64_t n, T* out, F f, const In*... in) {
  int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) stream(out + i, f(load(in + i)...));
  if (i < n) store_part(out + i, f(load_part(in + i, n - i)...), n - i);
}

// The lanes as doubles, in order: `part` 0 and, for float, 1.
template <typename T>
inline Vec<double> widen(Vec<T> v, int part);

template <>
inline Vec<double> widen<double>(Vec<double> v, int) {
  return v;
}

template <>
inline Vec<double> widen<float>(Vec<float> v, int part) {
  typedef float Half __attribute__((vector_size(32)));
  const Half half = part == 0 ? __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
                              : __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#ifdef __AVX512F__
  // Spelled out, since GCC 12 converts quarter by quarter.
  return reinterpret_cast<Vec<double>>(_mm512_maskz_cvtps_pd(-1, reinterpret_cast<__m256>(half)));
#else
  return __builtin_convertvector(half, Vec<double>);
#endif
}

template <typename T>
inline constexpr int kWideParts = static_cast<int>(sizeof(double) / sizeof(T));

// Sum and maximum (NaN if any is) over lanes, always along the same tree.
template <typename T>
inline T lanes_sum(Vec<T> v) {
  T lane[kLanes<T>];
  std::memcpy(lane, &v, sizeof(v));
  for (int64_t width = kLanes<T> / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

template <typename T>
inline T lanes_max(Vec<T> v) {
  T lane[kLanes<T>];
  std::memcpy(lane, &v, sizeof(v));
  for (int64_t width = kLanes<T> / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) {
      const T other = lane[i + width];
      lane[i] = (lane[i] > other) | (lane[i] != lane[i]) ? lane[i] : other;
    }
  }
  return lane[0];
}

// lanes x lanes elements in place: tile[i][j] and tile[j][i] change places. Each of the log2(lanes) rounds
// interleaves the two halves of the tile.
template <typename T>
inline void transpose(Vec<T> (&tile)[kLanes<T>]);

template <>
inline void transpose<float>(Vec<float> (&tile)[16]) {
  for (int round = 0; round < 4; ++round) {
    Vec<float> next[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      next[2 * i] =
          __builtin_shufflevector(tile[i], tile[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * i + 1] =
          __builtin_shufflevector(tile[i], tile[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) tile[i] = next[i];
  }
}

template <>
inline void transpose<double>(Vec<double> (&tile)[8]) {
  for (int round = 0; round < 3; ++round) {
    Vec<double> next[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      next[2 * i] = __builtin_shufflevector(tile[i], tile[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * i + 1] = __builtin_shufflevector(tile[i], tile[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) tile[i] = next[i];
  }
}

}  // namespace troupe::cpu
