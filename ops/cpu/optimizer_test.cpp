#include "ops/cpu/optimizer.h"

#include <limits>

#include "ops/cpu/factored.h"
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

// f(a, b, c, g, n) changes up to three tensors by the fourth: in one call or in several, the bits are the same.
template <typename T, typename F>
void expect_same_in_parts(F f) {
  std::vector<T> whole[3], parts[3];
  for (int i = 0; i < 3; ++i) whole[i] = parts[i] = random_values<T>(kSize, i + 1, 0.1, 1);
  const auto g = random_values<T>(kSize, 4);
  f(whole[0].data(), whole[1].data(), whole[2].data(), g.data(), kSize);
  const int64_t cuts[] = {0, 1, 14, 14, 33, kSize};
  for (int i = 0; i + 1 < 6; ++i) {
    const int64_t at = cuts[i];
    f(parts[0].data() + at, parts[1].data() + at, parts[2].data() + at, g.data() + at, cuts[i + 1] - at);
  }
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(whole[i], parts[i])) << i;
}

TYPED_TEST(Optimizer, ASplitUpdateEqualsTheWhole) {
  using T = TypeParam;
  const AdamOptions adam = {.lr = 0.01, .weight_decay = 0.1};
  expect_same_in_parts<T>([&](T* p, T* m, T* v, const T* g, int64_t n) { adamw(p, m, v, g, n, adam, 3, 0.7); });
  expect_same_in_parts<T>([&](T* u, T* m, T* v, const T* g, int64_t n) { lamb(u, m, v, u, g, n, adam, 3, 0.7); });
  expect_same_in_parts<T>([](T* p, T*, T*, const T* g, int64_t n) { apply_update(p, g, n, 0.9, 0.3); });
  for (bool yes : {false, true}) {
    const SgdOptions sgd_options = {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.1, .nesterov = yes};
    expect_same_in_parts<T>([&](T* p, T* m, T*, const T* g, int64_t n) { sgd(p, m, g, n, sgd_options, 3, 0.7); });
    expect_same_in_parts<T>([&](T* u, T* m, T*, const T* g, int64_t n) { muon_momentum(u, m, g, n, 0.9, yes, 0.7); });
    expect_same_in_parts<T>([&](T* v, T*, T*, const T* g, int64_t n) { moving_mean(v, g, n, yes, 0.7, 0.3); });
  }
  expect_same_in_parts<T>([](T* u, T* v, T*, const T* g, int64_t n) { adafactor_direction(u, g, v, n, 0.7, 1e-3); });
  expect_same_in_parts<T>([](T* u, T* columns, T*, const T* g, int64_t n) {
    const T row = 0.3, mean = 0.4;
    factored_direction(u, g, &row, columns, &mean, 1, 1, n, 0.7, 1e-3);
  });
}

TYPED_TEST(Optimizer, MeansOfColumnsDoNotDependOnHowManyThereAre) {
  using T = TypeParam;
  const auto x = random_values<T>(5 * 33, 1);
  std::vector<T> whole(33), column(5), one(1);
  mean_squares_of_columns(whole.data(), x.data(), 1, 5, 33, 5);
  for (int j = 0; j < 33; ++j) {
    for (int i = 0; i < 5; ++i) column[static_cast<size_t>(i)] = x[static_cast<size_t>(i * 33 + j)];
    mean_squares_of_columns(one.data(), column.data(), 1, 5, 1, 5);
    EXPECT_EQ(one[0], whole[static_cast<size_t>(j)]);
  }
}

}  // namespace
}  // namespace troupe::cpu
