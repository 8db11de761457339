#include "ops/cpu/optimizer.h"

#include <limits>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Optimizer : public ::testing::Test {};
TYPED_TEST_SUITE(Optimizer, FloatTypes);

constexpr int64_t kSize = 41;
constexpr double kScale = 0.25;

TYPED_TEST(Optimizer, SgdFollowsTorch) {
  using T = TypeParam;
  const std::vector<SgdOptions> variants = {{.lr = 0.1},
                                            {.lr = 0.1, .weight_decay = 0.01},
                                            {.lr = 0.1, .momentum = 0.9},
                                            {.lr = 0.1, .momentum = 0.9, .dampening = 0.2, .weight_decay = 0.01},
                                            {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}};
  for (const SgdOptions& o : variants) {
    auto p = random_values<T>(kSize, 1);
    std::vector<T> buffer(kSize, std::numeric_limits<T>::quiet_NaN());
    auto expected = widened(p);
    std::vector<double> momentum(kSize);
    for (int64_t step = 1; step <= 4; ++step) {
      const auto g = random_values<T>(kSize, 10 + static_cast<uint32_t>(step));
      sgd(p.data(), o.momentum == 0.0 ? nullptr : buffer.data(), g.data(), kSize, o, step, kScale);
      for (size_t i = 0; i < expected.size(); ++i) {
        double d = static_cast<double>(g[i]) * kScale + o.weight_decay * expected[i];
        if (o.momentum != 0.0) {
          momentum[i] = step == 1 ? d : o.momentum * momentum[i] + (1.0 - o.dampening) * d;
          d = o.nesterov ? d + o.momentum * momentum[i] : momentum[i];
        }
        expected[i] -= o.lr * d;
      }
    }
    expect_near(p, expected);
    if (o.momentum != 0.0) expect_near(buffer, momentum);
  }
}

TYPED_TEST(Optimizer, AdamFollowsTorch) {
  using T = TypeParam;
  for (const bool decoupled : {true, false}) {
    const AdamOptions o = {
        .lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .decoupled = decoupled};
    auto p = random_values<T>(kSize, 1);
    std::vector<T> m(kSize), v(kSize);
    auto expected = widened(p);
    std::vector<double> em(kSize), ev(kSize);
    for (int64_t step = 1; step <= 5; ++step) {
      const auto g = random_values<T>(kSize, 10 + static_cast<uint32_t>(step));
      adamw(p.data(), m.data(), v.data(), g.data(), kSize, o, step, kScale);
      for (size_t i = 0; i < expected.size(); ++i) {
        double d = static_cast<double>(g[i]) * kScale;
        if (decoupled) {
          expected[i] *= 1.0 - o.lr * o.weight_decay;
        } else {
          d += o.weight_decay * expected[i];
        }
        em[i] = o.beta1 * em[i] + (1.0 - o.beta1) * d;
        ev[i] = o.beta2 * ev[i] + (1.0 - o.beta2) * d * d;
        const double t = static_cast<double>(step);
        const double mean = em[i] / (1.0 - std::pow(o.beta1, t));
        const double root = std::sqrt(ev[i] / (1.0 - std::pow(o.beta2, t)));
        expected[i] -= o.lr * mean / (root + o.eps);
      }
    }
    expect_near(p, expected);
    expect_near(m, em);
    expect_near(v, ev);
  }
}

TYPED_TEST(Optimizer, ASplitUpdateEqualsTheWhole) {
  using T = TypeParam;
  const AdamOptions o = {.lr = 0.01, .weight_decay = 0.1};
  const auto p = random_values<T>(kSize, 1);
  const auto g = random_values<T>(kSize, 2);
  const auto m = random_values<T>(kSize, 3);
  const auto v = random_values<T>(kSize, 4, 0, 1);
  auto p1 = p, m1 = m, v1 = v, p2 = p, m2 = m, v2 = v;
  adamw(p1.data(), m1.data(), v1.data(), g.data(), kSize, o, 3, 1.0);
  const int64_t cuts[] = {0, 1, 14, 14, 33, kSize};
  for (int i = 0; i + 1 < 6; ++i) {
    adamw(p2.data() + cuts[i], m2.data() + cuts[i], v2.data() + cuts[i], g.data() + cuts[i], cuts[i + 1] - cuts[i], o,
          3, 1.0);
  }
  EXPECT_TRUE(same_bits(p1, p2));
  EXPECT_TRUE(same_bits(m1, m2));
  EXPECT_TRUE(same_bits(v1, v2));
}

}  // namespace
}  // namespace troupe::cpu
