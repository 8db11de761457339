#include "runtime/base/bfloat16.h"

#include <limits>
#include <thread>

#include "ops/cpu/gemm_bf16.h"
#include "ops/cpu/movement.h"
#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

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

// Every bfloat16 comes back, and the kernel gives the bits of the scalar everywhere.
TEST(BFloat16Cast, KeepsEveryNumberAndNaN) {
  std::vector<BFloat16> all(65536), back(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<uint16_t>(i);
  std::vector<float> wide(all.size());
  cast<float, BFloat16>(wide.data(), all.data(), 65536);
  cast<BFloat16, float>(back.data(), wide.data(), 65536);
  for (size_t i = 0; i < all.size(); ++i) {
    if (std::isnan(wide[i])) {
      ASSERT_TRUE(std::isnan(static_cast<float>(back[i]))) << i;
    } else {
      ASSERT_EQ(back[i].bits, all[i].bits);
    }
    // All fractions that a cut-off could carry out of.
    const uint32_t bits = (static_cast<uint32_t>(i) << 16) | 0xffff;
    const float value = std::bit_cast<float>(bits);
    BFloat16 rounded;
    cast<BFloat16, float>(&rounded, &value, 1);
    ASSERT_EQ(rounded.bits, BFloat16(value).bits);
    ASSERT_EQ(std::isnan(static_cast<float>(rounded)), std::isnan(value)) << i;
  }
}

struct Shape3 {
  int64_t m, n, k;
};

// Odd ones, single rows and columns, and sums longer than the blocks of either way.
const std::vector<Shape3> kShapes = {{1, 1, 1},    {7, 5, 3},   {13, 33, 17},  {64, 65, 31},
                                     {1, 100, 40}, {100, 1, 9}, {31, 40, 300}, {130, 70, 513}};

std::vector<BFloat16> random_bf16(int64_t n, uint32_t seed) {
  std::vector<BFloat16> result;
  for (float value : random_values<float>(n, seed)) result.emplace_back(value);
  return result;
}

template <typename C>
using Multiply = void (*)(bool, bool, int64_t, int64_t, int64_t, const BFloat16*, int64_t, const BFloat16*, int64_t,
                          const BFloat16*, C*, int64_t);

// `tolerance`: of the stored result, relative to it.
template <typename C>
void expect_products(Multiply<C> multiply, double tolerance) {
  for (const auto& [m, n, k] : kShapes) {
    for (const int form : {0, 1, 2, 3, 4, 5, 6, 7}) {
      const bool ta = (form & 1) != 0, tb = (form & 2) != 0, with_bias = (form & 4) != 0;
      const int64_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1;
      const auto a = random_bf16((ta ? k : m) * lda, 1);
      const auto b = random_bf16((tb ? n : k) * ldb, 2);
      const auto bias = random_bf16(n, 3);
      std::vector<C> c(static_cast<size_t>(m * n), C(std::numeric_limits<float>::quiet_NaN()));
      multiply(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, with_bias ? bias.data() : nullptr, c.data(), n);
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = with_bias ? bias[static_cast<size_t>(j)] : 0.0f;
          double size = std::abs(sum);
          for (int64_t p = 0; p < k; ++p) {
            const double term = double(a[static_cast<size_t>(ta ? p * lda + i : i * lda + p)]) *
                                double(b[static_cast<size_t>(tb ? j * ldb + p : p * ldb + j)]);
            sum += term;
            size += std::abs(term);
          }
          // What float32 sums lose is measured by the size of the terms.
          const double found = c[static_cast<size_t>(i * n + j)];
          ASSERT_LE(std::abs(found - sum), tolerance * std::abs(sum) + 1e-6 * size)
              << m << "x" << n << "x" << k << " form " << form << " at " << i << ", " << j;
        }
      }
    }
  }
}

constexpr double kStored = 1.0 / 256;  // half of the distance between bfloat16 numbers, relative

TEST(GemmBF16, InFloat32InstructionsEqualsFloat64) {
  expect_products<BFloat16>(gemm_bf16_in_float32<BFloat16>, kStored);
  expect_products<float>(gemm_bf16_in_float32<float>, 0);
}

TEST(GemmBF16, InBFloat16InstructionsEqualsFloat64) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this CPU has neither AVX512-BF16 nor AMX";
  expect_products<BFloat16>(gemm_bf16<BFloat16>, kStored);
  expect_products<float>(gemm_bf16<float>, 0);
}

TEST(GemmBF16, AnEmptySumIsTheBias) {
  const auto bias = random_bf16(5, 3);
  for (const BFloat16* given : {static_cast<const BFloat16*>(nullptr), bias.data()}) {
    std::vector<float> c(10, 7.0f);
    gemm_bf16<float>(false, false, 2, 5, 0, nullptr, 1, nullptr, 5, given, c.data(), 5);
    for (size_t i = 0; i < c.size(); ++i) {
      EXPECT_EQ(c[i], given == nullptr ? 0.0f : static_cast<float>(bias[i % 5]));
    }
  }
}

TEST(GemmBF16, GivesTheSameBitsOnEveryThreadAndAlignment) {
  const int64_t m = 65, n = 97, k = 130;
  const auto a = random_bf16(m * k, 1), b = random_bf16(k * n, 2);
  std::vector<float> right(static_cast<size_t>(m * n));
  gemm_bf16<float>(false, false, m, n, k, a.data(), k, b.data(), n, nullptr, right.data(), n);
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> found(6);
  for (size_t t = 0; t < found.size(); ++t) {
    threads.emplace_back([&, t] {
      std::vector<BFloat16> shifted(a.size() + t);
      std::copy(a.begin(), a.end(), shifted.begin() + static_cast<int64_t>(t));
      found[t].resize(right.size());
      for (int repeat = 0; repeat < 3; ++repeat) {
        gemm_bf16<float>(false, false, m, n, k, shifted.data() + t, k, b.data(), n, nullptr, found[t].data(), n);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& bits : found) EXPECT_TRUE(same_bits(bits, right));
}

}  // namespace
}  // namespace troupe::cpu
