#include "ops/cpu/softmax.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Softmax : public ::testing::Test {};
TYPED_TEST_SUITE(Softmax, FloatTypes);

std::vector<double> naive(const std::vector<double>& x, int64_t outer, int64_t n, int64_t inner, bool logarithm) {
  std::vector<double> y(x.size());
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t j = 0; j < inner; ++j) {
      const auto at = [=](int64_t i) { return static_cast<size_t>((o * n + i) * inner + j); };
      double top = -1e300, sum = 0.0;
      for (int64_t i = 0; i < n; ++i) top = std::max(top, x[at(i)]);
      for (int64_t i = 0; i < n; ++i) sum += std::exp(x[at(i)] - top);
      for (int64_t i = 0; i < n; ++i)
        y[at(i)] = logarithm ? x[at(i)] - top - std::log(sum) : std::exp(x[at(i)] - top) / sum;
    }
  }
  return y;
}

struct Sizes {
  int64_t outer, n, inner;
};
const Sizes kSizes[] = {{3, 50, 1}, {2, 7, 5}, {2, 9, 130}, {1, 1, 1}, {0, 4, 3}, {2, 0, 3}, {4, 1000, 1}};

TYPED_TEST(Softmax, ForwardMatchesTheDefinition) {
  using T = TypeParam;
  for (const auto& [outer, n, inner] : kSizes) {
    const auto x = random_values<T>(outer * n * inner, 1, -30, 30);
    std::vector<T> y(x.size());
    softmax_forward_strided(y.data(), x.data(), outer, n, inner);
    expect_near(y, naive(widened(x), outer, n, inner, false), sizeof(T) == 4 ? 1e-6 : 1e-14);
    log_softmax_forward_strided(y.data(), x.data(), outer, n, inner);
    expect_near(y, naive(widened(x), outer, n, inner, true), sizeof(T) == 4 ? 1e-6 : 1e-14);
  }
  const auto x = random_values<T>(60, 2);
  std::vector<T> y(60), in_place = x;
  softmax_forward(y.data(), x.data(), 3, 20);
  softmax_forward(in_place.data(), in_place.data(), 3, 20);
  EXPECT_TRUE(same_bits(y, in_place));
}

TEST(SoftmaxDouble, BackwardMatchesFiniteDifferences) {
  for (const auto& [outer, n, inner] : {Sizes{3, 21, 1}, Sizes{2, 5, 4}}) {
    const int64_t size = outer * n * inner;
    const auto x = random_values<double>(size, 1);
    const auto dy = random_values<double>(size, 2);
    for (const bool logarithm : {false, true}) {
      std::vector<double> y(x.size()), dx(x.size());
      if (logarithm) {
        log_softmax_forward_strided(y.data(), x.data(), outer, n, inner);
        log_softmax_backward_strided(dx.data(), dy.data(), y.data(), outer, n, inner);
      } else {
        softmax_forward_strided(y.data(), x.data(), outer, n, inner);
        softmax_backward_strided(dx.data(), dy.data(), y.data(), outer, n, inner);
      }
      const Sizes s{outer, n, inner};
      const auto loss = [&, s](const std::vector<double>& at) {
        return weighted(naive(at, s.outer, s.n, s.inner, logarithm), dy);
      };
      expect_near(dx, numeric_gradient(x, loss), 1e-8);
    }
  }
}

TYPED_TEST(Softmax, RowsAndColumnsAgreeInBackward) {
  using T = TypeParam;
  const int64_t rows = 5, n = 40;
  const auto x = random_values<T>(rows * n, 1);
  const auto dy = random_values<T>(rows * n, 2);
  std::vector<T> y(x.size()), dx(x.size()), columns(x.size()), dy_columns(x.size()), dx_columns(x.size()),
      back(x.size());
  softmax_forward(y.data(), x.data(), rows, n);
  softmax_backward(dx.data(), dy.data(), y.data(), rows, n);
  for (int64_t i = 0; i < rows * n; ++i) {
    const auto to = static_cast<size_t>(i % n * rows + i / n);
    columns[to] = y[static_cast<size_t>(i)];
    dy_columns[to] = dy[static_cast<size_t>(i)];
  }
  softmax_backward_strided(dx_columns.data(), dy_columns.data(), columns.data(), 1, n, rows);
  for (int64_t i = 0; i < rows * n; ++i)
    back[static_cast<size_t>(i)] = dx_columns[static_cast<size_t>(i % n * rows + i / n)];
  expect_near(dx, back);
}

TYPED_TEST(Softmax, SameBitsForEveryAlignment) {
  using T = TypeParam;
  const auto x = random_values<T>(3 * 77, 3);
  const auto run = [](const std::vector<const T*>& in, T* out) { softmax_forward(out, in[0], 3, 77); };
  expect_alignment_free<T>({x}, 3 * 77, run);
  const auto log_run = [](const std::vector<const T*>& in, T* out) { log_softmax_forward(out, in[0], 3, 77); };
  expect_alignment_free<T>({x}, 3 * 77, log_run);
}

}  // namespace
}  // namespace troupe::cpu
