// Casts to and from bfloat16 and float16: the kernel against the scalar, and both against what the formats say.

#include <bit>
#include <cmath>
#include <limits>

#include "ops/cpu/movement.h"
#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <LowFloat T>
T of_bits(size_t bits) {
  T result;
  result.bits = static_cast<uint16_t>(bits);
  return result;
}

template <LowFloat T>
std::vector<T> cast_from(const std::vector<float>& values) {
  std::vector<T> result(values.size());
  cast<T, float>(result.data(), values.data(), static_cast<int64_t>(values.size()));
  return result;
}

// Every number comes back, and every NaN as one.
template <LowFloat T>
void expect_round_trip() {
  std::vector<T> all;
  for (size_t i = 0; i < 65536; ++i) all.push_back(of_bits<T>(i));
  std::vector<float> wide(all.size());
  cast<float, T>(wide.data(), all.data(), 65536);
  const std::vector<T> back = cast_from<T>(wide);
  for (size_t i = 0; i < all.size(); ++i) {
    if (std::isnan(wide[i])) {
      ASSERT_TRUE(std::isnan(static_cast<float>(back[i]))) << i;
    } else {
      ASSERT_EQ(back[i].bits, all[i].bits);
    }
  }
}

// The magnitudes from zero to infinity ascend with their bits. Between two neighbours, the float32 numbers at and
// around the middle round as they should: down, to the even one, up; and so with the sign.
template <LowFloat T>
void expect_nearest_and_even() {
  const size_t infinity = T(kInfinity).bits;
  for (size_t i = 0; i < infinity; ++i) {
    const double low = static_cast<float>(of_bits<T>(i));
    // Above the largest number the next one would have stood here, had the exponent gone on.
    const double high = i + 1 < infinity ? static_cast<double>(static_cast<float>(of_bits<T>(i + 1)))
                                         : 2 * low - static_cast<double>(static_cast<float>(of_bits<T>(i - 1)));
    ASSERT_LT(low, high);
    const auto middle = static_cast<float>((low + high) / 2);
    const auto even = static_cast<uint16_t>(i + i % 2);
    ASSERT_EQ(static_cast<double>(middle), (low + high) / 2);
    const std::vector<float> around = {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, kInfinity)};
    const std::vector<uint16_t> right = {static_cast<uint16_t>(i), even, static_cast<uint16_t>(i + 1)};
    const std::vector<T> found = cast_from<T>(around);
    for (size_t k = 0; k < around.size(); ++k) {
      ASSERT_EQ(found[k].bits, right[k]) << around[k];
      ASSERT_EQ(T(around[k]).bits, right[k]) << around[k];
      ASSERT_EQ(T(-around[k]).bits, right[k] | 0x8000) << -around[k];
    }
  }
}

// Fractions of NaN that a cut-off could carry out of, or leave empty.
template <LowFloat T>
void expect_nan_stays() {
  std::vector<float> given;
  for (uint32_t bits : {0x7f800001u, 0x7f80ffffu, 0x7fbfffffu, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    given.push_back(std::bit_cast<float>(bits));
  }
  for (T found : cast_from<T>(given)) EXPECT_TRUE(std::isnan(static_cast<float>(found)));
  for (float value : given) EXPECT_TRUE(std::isnan(static_cast<float>(T(value))));
}

TEST(BFloat16Cast, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(BFloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(BFloat16(1.0f + 1.0f / 256).bits, 0x3f80);  // halfway to 1 + 1/128: the even one is below
  EXPECT_EQ(BFloat16(1.0f + 3.0f / 256).bits, 0x3f82);  // halfway again: the even one is above
  EXPECT_EQ(BFloat16(1.0f + 1.0f / 256 + 1e-6f).bits, 0x3f81);
  EXPECT_EQ(BFloat16(-0.0f).bits, 0x8000);
  EXPECT_EQ(BFloat16(std::numeric_limits<float>::max()).bits, 0x7f80);  // beyond the largest number
  EXPECT_EQ(BFloat16(std::numeric_limits<float>::infinity()).bits, 0x7f80);
  EXPECT_EQ(static_cast<float>(BFloat16(std::numeric_limits<float>::denorm_min())), 0.0f);
}

TEST(BFloat16Cast, EveryNumberComesBack) { expect_round_trip<BFloat16>(); }
TEST(BFloat16Cast, RoundsAroundEveryMiddle) { expect_nearest_and_even<BFloat16>(); }
TEST(BFloat16Cast, KeepsNaN) { expect_nan_stays<BFloat16>(); }

TEST(Float16Cast, HasTheNumbersOfIEEE754) {
  for (size_t i = 0; i < 65536; ++i) {
    const int exponent = static_cast<int>(i >> 10 & 31);
    const auto fraction = static_cast<double>(i & 1023);
    const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    const float found = of_bits<Float16>(i);
    if (exponent < 31) {
      ASSERT_EQ(found, i < 32768 ? size : -size) << i;
    } else {
      ASSERT_TRUE(fraction == 0 ? std::isinf(found) : std::isnan(found)) << i;
    }
    ASSERT_EQ(std::signbit(found), i >= 32768) << i;
  }
}

TEST(Float16Cast, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(Float16(1.0f).bits, 0x3c00);
  EXPECT_EQ(Float16(-0.0f).bits, 0x8000);
  EXPECT_EQ(Float16(65504.0f).bits, 0x7bff);  // the largest number
  EXPECT_EQ(Float16(65519.99f).bits, 0x7bff);
  EXPECT_EQ(Float16(65520.0f).bits, 0x7c00);  // halfway to what would be the next one
  EXPECT_EQ(Float16(std::numeric_limits<float>::max()).bits, 0x7c00);
  EXPECT_EQ(Float16(0x1p-24f).bits, 1);  // the smallest
  EXPECT_EQ(Float16(0x1p-25f).bits, 0);  // halfway to it
  EXPECT_EQ(Float16(0x1.8p-24f).bits, 2);
  EXPECT_EQ(Float16(0x1.ff8p-15f).bits, 0x3ff);  // the largest subnormal
  EXPECT_EQ(Float16(0x1.ffcp-15f).bits, 0x400);  // halfway to the smallest normal number, which is even
  EXPECT_EQ(Float16(std::numeric_limits<float>::denorm_min()).bits, 0);
}

TEST(Float16Cast, EveryNumberComesBack) { expect_round_trip<Float16>(); }
TEST(Float16Cast, RoundsAroundEveryMiddle) { expect_nearest_and_even<Float16>(); }
TEST(Float16Cast, KeepsNaN) { expect_nan_stays<Float16>(); }

}  // namespace
}  // namespace troupe::cpu
