#include "ops/cpu/gemm.h"

#include <limits>
#include <thread>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Gemm : public ::testing::Test {};
TYPED_TEST_SUITE(Gemm, FloatTypes);

template <typename T>
std::vector<double> naive(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const std::vector<T>& a, int64_t lda,
                          const std::vector<T>& b, int64_t ldb) {
  std::vector<double> c(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t p = 0; p < k; ++p) {
        c[static_cast<size_t>(i * n + j)] +=
            static_cast<double>(a[static_cast<size_t>(ta ? p * lda + i : i * lda + p)]) *
            static_cast<double>(b[static_cast<size_t>(tb ? j * ldb + p : p * ldb + j)]);
      }
    }
  }
  return c;
}

TYPED_TEST(Gemm, MatchesTheDefinitionForAllFormsAndShapes) {
  using T = TypeParam;
  for (const auto& [m, n, k] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {7, 5, 3}, {13, 33, 17}, {64, 65, 31}, {1, 100, 40}, {100, 1, 9}, {31, 40, 300}, {6, 32, 257}}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        const int64_t lda = (ta ? m : k) + 3;
        const int64_t ldb = (tb ? k : n) + 1;
        const auto a = random_values<T>((ta ? k : m) * lda, 1);
        const auto b = random_values<T>((tb ? n : k) * ldb, 2);
        const auto before = random_values<T>(m * n, 3);
        auto expected = naive(ta, tb, m, n, k, a, lda, b, ldb);
        for (size_t i = 0; i < expected.size(); ++i)
          expected[i] = 0.5 * expected[i] - 2.0 * static_cast<double>(before[i]);
        auto c = before;
        gemm<T>(ta, tb, m, n, k, T(0.5), a.data(), lda, b.data(), ldb, T(-2), c.data(), n);
        expect_near(c, expected, kTolerance<T> * std::sqrt(static_cast<double>(k)) * 4);
      }
    }
  }
}

TYPED_TEST(Gemm, BetaZeroDoesNotReadTheOutput) {
  using T = TypeParam;
  for (const int64_t size : {5, 40}) {
    const std::vector<T> a(static_cast<size_t>(size * size), T(1));
    std::vector<T> c(static_cast<size_t>(size * size), std::numeric_limits<T>::quiet_NaN());
    gemm<T>(false, false, size, size, size, T(1), a.data(), size, a.data(), size, T(0), c.data(), size);
    for (const T v : c) ASSERT_EQ(v, static_cast<T>(size));
  }
}

TYPED_TEST(Gemm, EmptySizes) {
  using T = TypeParam;
  std::vector<T> c = {1, 2, 3, 4};
  gemm<T>(false, false, 0, 2, 2, T(1), nullptr, 2, nullptr, 2, T(1), nullptr, 2);
  gemm<T>(false, false, 2, 0, 2, T(1), nullptr, 2, nullptr, 2, T(1), nullptr, 2);
  gemm<T>(false, false, 2, 2, 0, T(1), nullptr, 2, nullptr, 2, T(2), c.data(), 2);
  EXPECT_EQ(c, (std::vector<T>{2, 4, 6, 8}));
  gemm<T>(false, false, 2, 2, 0, T(1), nullptr, 2, nullptr, 2, T(0), c.data(), 2);
  EXPECT_EQ(c, (std::vector<T>{0, 0, 0, 0}));
}

TYPED_TEST(Gemm, SameBitsForEveryAlignmentAndThread) {
  using T = TypeParam;
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const int64_t m = 37, n = 70, k = 129;
      const auto a = random_values<T>(m * k, 1);
      const auto b = random_values<T>(k * n, 2);
      const auto run = [=](const std::vector<const T*>& in, T* out) {
        gemm<T>(ta, tb, m, n, k, T(1), in[0], ta ? m : k, in[1], tb ? k : n, T(0), out, n);
      };
      expect_alignment_free<T>({a, b}, m * n, run);
      std::vector<T> here(static_cast<size_t>(m * n)), there = here;
      run({a.data(), b.data()}, here.data());
      std::thread([&] { run({a.data(), b.data()}, there.data()); }).join();
      EXPECT_TRUE(same_bits(here, there));
    }
  }
}

TYPED_TEST(Gemm, BatchedAndBias) {
  using T = TypeParam;
  const int64_t batch = 3, m = 9, n = 20, k = 11;
  const auto a = random_values<T>(batch * m * k, 1);
  const auto b = random_values<T>(k * n, 2);
  const auto bias = random_values<T>(n, 3);
  std::vector<T> c(static_cast<size_t>(batch * m * n));
  batched_gemm<T>(false, false, batch, m, n, k, T(1), a.data(), k, m * k, b.data(), n, 0, T(0), c.data(), n, m * n);
  auto expected = naive(false, false, batch * m, n, k, a, k, b, n);
  expect_near(c, expected, 4 * kTolerance<T>);
  gemm_bias<T>(false, false, batch * m, n, k, a.data(), k, b.data(), n, bias.data(), c.data(), n);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(bias[i % n]);
  expect_near(c, expected, 4 * kTolerance<T>);
}

}  // namespace
}  // namespace troupe::cpu
