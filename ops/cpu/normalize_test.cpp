#include "ops/cpu/normalize.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Normalize : public ::testing::Test {};
TYPED_TEST_SUITE(Normalize, FloatTypes);

constexpr double kEps = 1e-12;

TYPED_TEST(Normalize, RowsHaveLengthOne) {
  using T = TypeParam;
  const int64_t rows = 3, n = 37;
  const auto x = random_values<T>(rows * n, 1);
  std::vector<T> y(x.size()), norm(3);
  normalize_forward(y.data(), norm.data(), x.data(), rows, n, kEps);
  std::vector<double> right(x.size());
  for (size_t i = 0; i < 3; ++i) {
    double squares = 0;
    for (size_t j = 0; j < 37; ++j) squares += static_cast<double>(x[i * 37 + j]) * static_cast<double>(x[i * 37 + j]);
    for (size_t j = 0; j < 37; ++j) right[i * 37 + j] = static_cast<double>(x[i * 37 + j]) / std::sqrt(squares);
  }
  expect_near(y, right);
  std::vector<T> in_place = x;
  normalize_forward(in_place.data(), norm.data(), in_place.data(), rows, n, kEps);
  EXPECT_TRUE(same_bits(in_place, y));
}

TYPED_TEST(Normalize, ARowOfZerosStaysSoAndItsGradientIsFinite) {
  using T = TypeParam;
  const std::vector<T> x(4, T(0)), dy = {T(1), T(-2), T(0), T(3)};
  std::vector<T> y(4, T(7)), norm(1), dx(4);
  normalize_forward(y.data(), norm.data(), x.data(), 1, 4, 0.5);
  EXPECT_TRUE(same_bits(y, x));
  normalize_backward(dx.data(), dy.data(), y.data(), norm.data(), 1, 4, 0.5);
  expect_near(dx, std::vector<double>{2, -4, 0, 6});
}

}  // namespace
}  // namespace troupe::cpu
