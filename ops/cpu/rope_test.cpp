#include "ops/cpu/rope.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Rope : public ::testing::Test {};
TYPED_TEST_SUITE(Rope, FloatTypes);

constexpr double kTheta = 10000.0;

template <typename T>
std::vector<T> turned(const std::vector<T>& x, const RopeShape& shape, bool inverse = false, double theta = kTheta) {
  std::vector<T> out(x.size());
  std::vector<double> scratch(static_cast<size_t>(rope_scratch_bytes<T>(shape.seq, shape.dim) + 7) / 8);
  rope<T>(out.data(), x.data(), shape, theta, inverse, scratch.data());
  return out;
}

std::vector<double> naive(const std::vector<double>& x, const RopeShape& shape, double theta) {
  std::vector<double> out(x.size());
  const int64_t half = shape.dim / 2;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto place = static_cast<int64_t>(i);
    const int64_t j = place % shape.dim;
    const int64_t position = shape.first + place / (shape.dim * shape.inner) % shape.seq;
    const double angle = static_cast<double>(position) *
                         std::pow(theta, -2.0 * static_cast<double>(j % half) / static_cast<double>(shape.dim));
    const double other = j < half ? -x[i + static_cast<size_t>(half)] : x[i - static_cast<size_t>(half)];
    out[i] = x[i] * std::cos(angle) + other * std::sin(angle);
  }
  return out;
}

TYPED_TEST(Rope, TurnsPairsByThePositionsAngle) {
  using T = TypeParam;
  for (const RopeShape& shape : std::vector<RopeShape>{{2, 70, 3, 6, 0}, {1, 5, 2, 64, 30}, {3, 4, 1, 2, 8190}}) {
    for (const double theta : {kTheta, 500000.0}) {
      const auto x = random_values<T>(shape.outer * shape.seq * shape.inner * shape.dim, 1);
      // Angles of thousands have an error of that many units in the last place of float64.
      expect_near(turned(x, shape, false, theta), naive(widened(x), shape, theta),
                  sizeof(T) == 4 ? kTolerance<T> : 1e-11);
    }
  }
}

TYPED_TEST(Rope, APartHasTheBitsOfTheWhole) {
  using T = TypeParam;
  const int64_t seq = 75, inner = 2, dim = 34;
  const auto x = random_values<T>(seq * inner * dim, 2);
  const auto whole = turned(x, {1, seq, inner, dim, 0});
  for (const int64_t first : {1, 31, 32, 40}) {
    for (const int64_t count : {1, 20, 33, 35}) {
      const auto begin = x.begin() + first * inner * dim;
      const std::vector<T> part(begin, begin + count * inner * dim);
      const auto right = whole.begin() + first * inner * dim;
      EXPECT_TRUE(same_bits(turned(part, {1, count, inner, dim, first}), {right, right + count * inner * dim}));
    }
  }
}

TYPED_TEST(Rope, TheInverseTurnsBack) {
  using T = TypeParam;
  const RopeShape shape{2, 40, 3, 18, 100};
  const auto x = random_values<T>(2 * 40 * 3 * 18, 3);
  expect_near(turned(turned(x, shape), shape, true), x);
}

TYPED_TEST(Rope, InPlaceAndForEveryAlignment) {
  using T = TypeParam;
  const RopeShape shape{2, 9, 2, 38, 4};
  const int64_t size = 2 * 9 * 2 * 38;
  const auto x = random_values<T>(size, 4);
  std::vector<double> scratch(static_cast<size_t>(rope_scratch_bytes<T>(shape.seq, shape.dim) + 7) / 8);
  auto in_place = x;
  rope<T>(in_place.data(), in_place.data(), shape, kTheta, false, scratch.data());
  EXPECT_TRUE(same_bits(in_place, turned(x, shape)));
  expect_alignment_free<T>({x}, size, [&](const std::vector<const T*>& in, T* out) {
    rope<T>(out, in[0], shape, kTheta, false, scratch.data());
  });
}

}  // namespace
}  // namespace troupe::cpu
