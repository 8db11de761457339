#include "ops/cpu/random.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/strided_loop.h"
#include "ops/cpu/vector_math.h"

namespace troupe::cpu {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

// Words are drawn in groups, aligned in the logical tensor, so that every box sees the same groups: four
// vectors of eight blocks, since one alone would wait for its own multiplications.
constexpr int64_t kGroup = 128;
constexpr int kVectors = 4;

typedef uint64_t U64x8 __attribute__((vector_size(64)));

// The low 32 bits of the lanes times a 32-bit constant.
inline U64x8 multiply_low(U64x8 x, uint32_t by) {
#ifdef __AVX512F__
  const __m512i factor = _mm512_set1_epi64(static_cast<int64_t>(by));
  return reinterpret_cast<U64x8>(_mm512_maskz_mul_epu32(-1, reinterpret_cast<__m512i>(x), factor));
#else
  return (x & 0xffffffffu) * static_cast<uint64_t>(by);
#endif
}

// Words [kGroup group, kGroup (group + 1)). Only the low halves of the lanes count; what is above is cut off
// at the end.
[[gnu::noinline]] void draw_group(uint32_t* words, uint64_t key, uint64_t group) {
  U64x8 c0[kVectors];
  U64x8 c1[kVectors];
  U64x8 c2[kVectors] = {};
  U64x8 c3[kVectors] = {};
  for (int v = 0; v < kVectors; ++v) {
    c0[v] = U64x8{0, 1, 2, 3, 4, 5, 6, 7} + (group * (kGroup / 4) + static_cast<uint64_t>(v) * 8);
    c1[v] = c0[v] >> 32;
  }
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const U64x8 product0 = multiply_low(c0[v], kMultiplier0);
      const U64x8 product1 = multiply_low(c2[v], kMultiplier1);
      c0[v] = (product1 >> 32) ^ c1[v] ^ static_cast<uint64_t>(k0);
      c1[v] = product1;
      c2[v] = (product0 >> 32) ^ c3[v] ^ static_cast<uint64_t>(k1);
      c3[v] = product0;
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  for (int v = 0; v < kVectors; ++v) {
    const U64x8 front = (c0[v] & 0xffffffffu) | (c1[v] << 32);
    const U64x8 back = (c2[v] & 0xffffffffu) | (c3[v] << 32);
    const U64x8 low = __builtin_shufflevector(front, back, 0, 8, 1, 9, 2, 10, 3, 11);
    const U64x8 high = __builtin_shufflevector(front, back, 4, 12, 5, 13, 6, 14, 7, 15);
    std::memcpy(words + v * 32, &low, sizeof(low));
    std::memcpy(words + v * 32 + 16, &high, sizeof(high));
  }
}

// Calls emit(group, at, from, count) along the box: elements [from, from + count) of that group of the
// logical tensor belong at `at` in the box. Groups are aligned, so an element's number does not depend on the
// box.
template <typename Emit>
void each_group(const RandomBox& box, Emit emit) {
  int64_t strides[kMaxDims];
  contiguous_strides(strides, box.logical_shape, box.ndim);
  int64_t begin = 0;
  for (int d = 0; d < box.ndim; ++d) begin += strides[d] * box.offset[d];
  const StridedLoop<1> loop(box.extent, {strides}, box.ndim);
  int64_t written = 0;
  const auto run = [&](int64_t first, int64_t count) {
    while (count > 0) {
      const int64_t from = first % kGroup;
      const int64_t length = std::min(kGroup - from, count);
      emit(first / kGroup, written, from, length);
      written += length;
      first += length;
      count -= length;
    }
  };
  loop.for_each_row([&](const int64_t* at) {
    const int64_t n = loop.row_size();
    const int64_t step = loop.row_stride(0);
    if (step == 1) return run(begin + at[0], n);
    for (int64_t i = 0; i < n; ++i) run(begin + at[0] + i * step, 1);
  });
}

// out[..] = values of make(values, words), which turns the words of a whole group into values.
template <typename T, typename Make>
void fill_with(T* out, uint64_t key, const RandomBox& box, Make make) {
  uint32_t words[kGroup] = {};
  T values[kGroup];
  // Rows that end inside a group and go on in it do not draw it again.
  int64_t held = -1;
  each_group(box, [&](int64_t group, int64_t at, int64_t from, int64_t count) {
    if (group != held) draw_group(words, key, static_cast<uint64_t>(group));
    if (count == kGroup) return make(out + at, words);
    if (group != held) make(values, words);
    held = group;
    std::copy(values + from, values + from + count, out + at);
  });
}

constexpr double kUnit = 1.0 / 16777216.0;  // 2^-24

// z[2j], z[2j+1] = sqrt(-2 ln u1) {cos, sin}(2 pi u2), for 16 pairs.
void box_muller(float* z, const uint32_t* words) {
  float u1[16];
  float u2[16];
  for (int j = 0; j < 16; ++j) {
    u1[j] = static_cast<float>((words[2 * j] >> 8) + 1) * static_cast<float>(kUnit);
    u2[j] = static_cast<float>(words[2 * j + 1] >> 8) * static_cast<float>(kUnit);
  }
  const Vec<float> radius = math::sqrt(math::log(load(u1)) * -2.0f);
  // A quarter turn at a time: the remainder of a 24-bit fraction is exact.
  const Vec<float> turns = load(u2) * 4.0f;
  const Vec<float> quarter = (turns + 12582912.0f) - 12582912.0f;
  const Vec<float> x = (turns - quarter) * 1.57079633f;
  const Vec<float> s = x * x;
  Vec<float> sine = s * -1.9515295891e-4f + 8.3321608736e-3f;
  sine = sine * s - 1.6666654611e-1f;
  sine = sine * s * x + x;
  Vec<float> cosine = s * 2.443315711809948e-5f - 1.388731625493765e-3f;
  cosine = cosine * s + 4.166664568298827e-2f;
  cosine = cosine * (s * s) - s * 0.5f + 1.0f;
  const VecMask<float> q = __builtin_convertvector(quarter, VecMask<float>);
  const VecMask<float> odd = (q & 1) != 0;
  const Vec<float> c = odd ? sine : cosine;
  const Vec<float> d = odd ? cosine : sine;
  const Vec<float> first = radius * (((q + 1) & 2) != 0 ? -c : c);
  const Vec<float> second = radius * ((q & 2) != 0 ? -d : d);
  for (int j = 0; j < 16; ++j) {
    z[2 * j] = first[j];
    z[2 * j + 1] = second[j];
  }
}

void box_muller(double* z, const uint32_t* words) {
  for (int j = 0; j < 16; ++j) {
    const double u1 = static_cast<double>((words[2 * j] >> 8) + 1) * kUnit;
    const double u2 = static_cast<double>(words[2 * j + 1] >> 8) * kUnit;
    const double radius = std::sqrt(-2.0 * std::log(u1));
    z[2 * j] = radius * std::cos(6.283185307179586477 * u2);
    z[2 * j + 1] = radius * std::sin(6.283185307179586477 * u2);
  }
}

// The element is kept when word >> 8 is at least this: u >= p without rounding.
uint32_t keep_threshold(double p) { return static_cast<uint32_t>(std::ceil(std::clamp(p, 0.0, 1.0) * 16777216.0)); }

}  // namespace

void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t c0 = counter[0];
  uint32_t c1 = counter[1];
  uint32_t c2 = counter[2];
  uint32_t c3 = counter[3];
  uint32_t k0 = key[0];
  uint32_t k1 = key[1];
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(kMultiplier0) * c0;
    const uint64_t product1 = static_cast<uint64_t>(kMultiplier1) * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(product1);
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(product0);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

void fill_random_words(uint32_t* out, uint64_t key, const RandomBox& box) {
  fill_with(out, key, box, [](uint32_t* values, const uint32_t* words) { std::copy(words, words + kGroup, values); });
}

template <typename T>
void fill_uniform(T* out, uint64_t key, const RandomBox& box, T low, T high) {
  fill_with(out, key, box, [=](T* values, const uint32_t* words) {
    T u[kGroup];
    for (int64_t i = 0; i < kGroup; ++i) u[i] = static_cast<T>(static_cast<int32_t>(words[i] >> 8)) * T(kUnit);
    map(kGroup, values, [=](Vec<T> v) { return v * (high - low) + low; }, static_cast<const T*>(u));
  });
}

template <typename T>
void fill_normal(T* out, uint64_t key, const RandomBox& box, T mean, T stddev) {
  fill_with(out, key, box, [=](T* values, const uint32_t* words) {
    T z[kGroup];
    for (int64_t i = 0; i < kGroup; i += 32) box_muller(z + i, words + i);
    map(kGroup, values, [=](Vec<T> v) { return v * stddev + mean; }, static_cast<const T*>(z));
  });
}

void fill_dropout_mask(uint8_t* mask, uint64_t key, const RandomBox& box, double p) {
  const uint32_t threshold = keep_threshold(p);
  fill_with(mask, key, box, [=](uint8_t* values, const uint32_t* words) {
    for (int64_t i = 0; i < kGroup; ++i) values[i] = (words[i] >> 8) >= threshold;
  });
}

template <typename T>
void dropout(T* y, const T* x, uint64_t key, const RandomBox& box, double p) {
  const uint32_t threshold = keep_threshold(p);
  const T factor = p < 1.0 ? static_cast<T>(1.0 / (1.0 - p)) : T(0);
  uint32_t words[kGroup] = {};
  int64_t held = -1;
  each_group(box, [&](int64_t group, int64_t at, int64_t from, int64_t count) {
    if (group != held) draw_group(words, key, static_cast<uint64_t>(group));
    held = group;
    const T* in = x + at;
    T* out = y + at;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const T scaled = in[i] * factor;
      out[i] = (words[from + i] >> 8) >= threshold ? scaled : T(0);
    }
  });
}

template <typename T>
struct RandomInstances {
  static constexpr auto r0 = fill_uniform<T>;
  static constexpr auto r1 = fill_normal<T>;
  static constexpr auto r2 = dropout<T>;
};
template struct RandomInstances<float>;
template struct RandomInstances<double>;

}  // namespace troupe::cpu
