#include "ops/cpu/swiglu.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Swiglu : public ::testing::Test {};
TYPED_TEST_SUITE(Swiglu, FloatTypes);

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TYPED_TEST(Swiglu, MatchesTheFormula) {
  using T = TypeParam;
  for (const int64_t n : {0, 1, 16, 53}) {
    const auto gate = random_values<T>(n, 1, -8, 8), up = random_values<T>(n, 2), dy = random_values<T>(n, 3);
    std::vector<T> y(gate.size()), dgate(gate.size()), dup(gate.size());
    swiglu(y.data(), gate.data(), up.data(), n);
    swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n);
    std::vector<double> right_y, right_dgate, right_dup;
    for (size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i], s = sigmoid(g);
      right_y.push_back(g * s * up[i]);
      right_dgate.push_back(dy[i] * double(up[i]) * (s + g * s * (1 - s)));
      right_dup.push_back(dy[i] * g * s);
    }
    expect_near(y, right_y);
    expect_near(dgate, right_dgate);
    expect_near(dup, right_dup);
  }
}

TYPED_TEST(Swiglu, AnElementDoesNotDependOnItsPositionNorOnSharedMemory) {
  using T = TypeParam;
  const int64_t n = 45;
  const auto gate = random_values<T>(n, 1, -8, 8), up = random_values<T>(n, 2), dy = random_values<T>(n, 3);
  std::vector<T> dgate(gate.size()), dup(gate.size()), one_dgate(gate.size()), one_dup(gate.size());
  swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n);
  for (size_t i = 0; i < gate.size(); ++i) {
    swiglu_backward(&one_dgate[i], &one_dup[i], &dy[i], &gate[i], &up[i], 1);
  }
  EXPECT_TRUE(same_bits(dgate, one_dgate) && same_bits(dup, one_dup));
  auto a = gate, b = up;
  swiglu_backward(a.data(), b.data(), dy.data(), a.data(), b.data(), n);
  EXPECT_TRUE(same_bits(a, dgate) && same_bits(b, dup));
  const auto run = [&](const std::vector<const T*>& in, T* out) { swiglu(out, in[0], in[1], n); };
  expect_alignment_free<T>({gate, up}, n, run);
}

TYPED_TEST(Swiglu, AGateFarFromZeroIsOpenOrShut) {
  using T = TypeParam;
  const std::vector<T> gate = {T(1e4), T(-1e4)}, up = {T(3), T(3)}, dy = {T(2), T(2)};
  std::vector<T> y(2), dgate(2), dup(2);
  swiglu(y.data(), gate.data(), up.data(), 2);
  swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), 2);
  expect_near(y, std::vector<T>{T(3e4), 0}, 0.0);
  expect_near(dgate, std::vector<T>{6, 0}, 0.0);
  expect_near(dup, std::vector<T>{T(2e4), 0}, 0.0);
}

}  // namespace
}  // namespace troupe::cpu
