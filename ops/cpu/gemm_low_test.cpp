#include "ops/cpu/gemm_low.h"

#include <limits>
#include <thread>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

struct Shape3 {
  int64_t m, n, k;
};

// Odd ones, single rows and columns, and sums longer than the blocks of either way.
const std::vector<Shape3> kShapes = {{1, 1, 1},    {7, 5, 3},   {13, 33, 17},  {64, 65, 31},
                                     {1, 100, 40}, {100, 1, 9}, {31, 40, 300}, {130, 70, 513}};

template <LowFloat T>
std::vector<T> random_low(int64_t n, uint32_t seed) {
  std::vector<T> result;
  for (float value : random_values<float>(n, seed)) result.emplace_back(value);
  return result;
}

template <typename T, typename C>
using Multiply = void (*)(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, const T*, C*,
                          int64_t);

// `tolerance`: of the stored result, relative to it.
template <typename T, typename C>
void expect_products(Multiply<T, C> multiply, double tolerance) {
  for (const auto& [m, n, k] : kShapes) {
    for (const int form : {0, 1, 2, 3, 4, 5, 6, 7}) {
      const bool ta = (form & 1) != 0, tb = (form & 2) != 0, with_bias = (form & 4) != 0;
      const int64_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1;
      const auto a = random_low<T>((ta ? k : m) * lda, 1);
      const auto b = random_low<T>((tb ? n : k) * ldb, 2);
      const auto bias = random_low<T>(n, 3);
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

// Half of the distance between two numbers, relative.
template <LowFloat T>
constexpr double kStored = std::is_same_v<T, BFloat16> ? 1.0 / 256 : 1.0 / 2048;

TEST(GemmLow, InFloat32InstructionsEqualsFloat64) {
  expect_products<BFloat16, BFloat16>(gemm_low_in_float32<BFloat16, BFloat16>, kStored<BFloat16>);
  expect_products<BFloat16, float>(gemm_low_in_float32<BFloat16, float>, 0);
  expect_products<Float16, Float16>(gemm_low_in_float32<Float16, Float16>, kStored<Float16>);
  expect_products<Float16, float>(gemm_low_in_float32<Float16, float>, 0);
}

TEST(GemmLow, InBFloat16InstructionsEqualsFloat64) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this CPU has neither AVX512-BF16 nor AMX";
  expect_products<BFloat16, BFloat16>(gemm_low<BFloat16, BFloat16>, kStored<BFloat16>);
  expect_products<BFloat16, float>(gemm_low<BFloat16, float>, 0);
}

template <LowFloat T>
void expect_empty_sum_is_bias() {
  const auto bias = random_low<T>(5, 3);
  for (const T* given : {static_cast<const T*>(nullptr), bias.data()}) {
    std::vector<float> c(10, 7.0f);
    gemm_low<T, float>(false, false, 2, 5, 0, nullptr, 1, nullptr, 5, given, c.data(), 5);
    for (size_t i = 0; i < c.size(); ++i) {
      EXPECT_EQ(c[i], given == nullptr ? 0.0f : static_cast<float>(bias[i % 5]));
    }
  }
}

TEST(GemmLow, AnEmptySumIsTheBias) {
  expect_empty_sum_is_bias<BFloat16>();
  expect_empty_sum_is_bias<Float16>();
}

template <LowFloat T>
void expect_same_bits_everywhere() {
  const int64_t m = 65, n = 97, k = 130;
  const auto a = random_low<T>(m * k, 1), b = random_low<T>(k * n, 2);
  std::vector<float> right(static_cast<size_t>(m * n));
  gemm_low<T, float>(false, false, m, n, k, a.data(), k, b.data(), n, nullptr, right.data(), n);
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> found(6);
  for (size_t t = 0; t < found.size(); ++t) {
    threads.emplace_back([&, t] {
      std::vector<T> shifted(a.size() + t);
      std::copy(a.begin(), a.end(), shifted.begin() + static_cast<int64_t>(t));
      found[t].resize(right.size());
      for (int repeat = 0; repeat < 3; ++repeat) {
        gemm_low<T, float>(false, false, m, n, k, shifted.data() + t, k, b.data(), n, nullptr, found[t].data(), n);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& bits : found) EXPECT_TRUE(same_bits(bits, right));
}

TEST(GemmLow, GivesTheSameBitsOnEveryThreadAndAlignment) {
  expect_same_bits_everywhere<BFloat16>();
  expect_same_bits_everywhere<Float16>();
}

}  // namespace
}  // namespace troupe::cpu
