#include "ops/cpu/layer_norm.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class LayerNorm : public ::testing::Test {};
TYPED_TEST_SUITE(LayerNorm, FloatTypes);

constexpr double kEps = 1e-5;

std::vector<double> naive(const std::vector<double>& x, const std::vector<double>& scale,
                          const std::vector<double>& shift, int64_t rows, int64_t n, bool rms) {
  std::vector<double> y(x.size());
  for (int64_t i = 0; i < rows; ++i) {
    const auto at = [=](int64_t j) { return static_cast<size_t>(i * n + j); };
    double mean = 0.0, var = 0.0;
    for (int64_t j = 0; j < n; ++j) mean += rms ? 0.0 : x[at(j)] / static_cast<double>(n);
    for (int64_t j = 0; j < n; ++j) var += (x[at(j)] - mean) * (x[at(j)] - mean) / static_cast<double>(n);
    for (int64_t j = 0; j < n; ++j) {
      y[at(j)] = (x[at(j)] - mean) / std::sqrt(var + kEps);
      if (!scale.empty()) y[at(j)] *= scale[static_cast<size_t>(j)];
      if (!shift.empty()) y[at(j)] += shift[static_cast<size_t>(j)];
    }
  }
  return y;
}

TYPED_TEST(LayerNorm, ForwardMatchesTheDefinition) {
  using T = TypeParam;
  for (const auto& [rows, n] : std::vector<std::pair<int64_t, int64_t>>{{4, 5}, {3, 64}, {2, 257}, {1, 1}, {0, 8}}) {
    const auto x = random_values<T>(rows * n, 1, 8, 12);
    const auto scale = random_values<T>(n, 2);
    const auto shift = random_values<T>(n, 3);
    std::vector<T> y(x.size()), mean(static_cast<size_t>(rows)), rstd(static_cast<size_t>(rows));
    const double tolerance = sizeof(T) == 4 ? 4e-6 : 1e-12;
    for (const bool scaled : {false, true}) {
      for (const bool shifted : {false, true}) {
        layer_norm_forward<T>(y.data(), mean.data(), rstd.data(), x.data(), scaled ? scale.data() : nullptr,
                              shifted ? shift.data() : nullptr, rows, n, kEps);
        expect_near(y,
                    naive(widened(x), scaled ? widened(scale) : std::vector<double>{},
                          shifted ? widened(shift) : std::vector<double>{}, rows, n, false),
                    tolerance);
      }
      rms_norm_forward<T>(y.data(), rstd.data(), x.data(), scaled ? scale.data() : nullptr, rows, n, kEps);
      expect_near(y, naive(widened(x), scaled ? widened(scale) : std::vector<double>{}, {}, rows, n, true), tolerance);
    }
  }
}

TYPED_TEST(LayerNorm, ResidualFormEqualsItsParts) {
  using T = TypeParam;
  const int64_t rows = 5, n = 37;
  const auto a = random_values<T>(rows * n, 1);
  const auto b = random_values<T>(rows * n, 2);
  const auto scale = random_values<T>(n, 3);
  std::vector<T> sum(a.size()), y(a.size()), fused(a.size()), mean(5), rstd(5), both(a.size());
  for (size_t i = 0; i < a.size(); ++i) both[i] = a[i] + b[i];
  layer_norm_forward<T>(y.data(), mean.data(), rstd.data(), both.data(), scale.data(), nullptr, rows, n, kEps);
  add_layer_norm_forward<T>(sum.data(), fused.data(), mean.data(), rstd.data(), a.data(), b.data(), scale.data(),
                            nullptr, rows, n, kEps);
  EXPECT_TRUE(same_bits(sum, both));
  EXPECT_TRUE(same_bits(fused, y));
}

template <typename T>
struct Gradients {
  std::vector<T> dx, dscale, dshift;
};

template <typename T>
Gradients<T> backward(const std::vector<T>& x, const std::vector<T>& scale, const std::vector<T>& dy, int64_t rows,
                      int64_t n, bool rms, bool scaled) {
  const auto r = static_cast<size_t>(rows);
  std::vector<T> y(x.size()), mean(r), rstd(r);
  Gradients<T> g{std::vector<T>(x.size()), std::vector<T>(static_cast<size_t>(n)),
                 std::vector<T>(static_cast<size_t>(n))};
  const T* s = scaled ? scale.data() : nullptr;
  if (rms) {
    rms_norm_forward(y.data(), rstd.data(), x.data(), s, rows, n, kEps);
    rms_norm_backward_input(g.dx.data(), dy.data(), x.data(), rstd.data(), s, rows, n);
    rms_norm_backward_params(g.dscale.data(), dy.data(), x.data(), rstd.data(), rows, n);
  } else {
    layer_norm_forward<T>(y.data(), mean.data(), rstd.data(), x.data(), s, nullptr, rows, n, kEps);
    layer_norm_backward_input(g.dx.data(), dy.data(), x.data(), mean.data(), rstd.data(), s, rows, n);
    layer_norm_backward_params(g.dscale.data(), g.dshift.data(), dy.data(), x.data(), mean.data(), rstd.data(), rows,
                               n);
  }
  return g;
}

TEST(LayerNormDouble, BackwardMatchesFiniteDifferences) {
  const int64_t rows = 4, n = 19;
  const auto x = random_values<double>(rows * n, 1);
  const auto scale = random_values<double>(n, 2);
  const auto shift = random_values<double>(n, 3);
  const auto dy = random_values<double>(rows * n, 4);
  for (const bool rms : {false, true}) {
    for (const bool scaled : {false, true}) {
      const auto g = backward(x, scale, dy, rows, n, rms, scaled);
      const std::vector<double> s = scaled ? scale : std::vector<double>{};
      expect_near(g.dx,
                  numeric_gradient(x, [&](const auto& at) { return weighted(naive(at, s, {}, rows, n, rms), dy); }),
                  1e-7);
      if (!scaled) continue;
      expect_near(g.dscale,
                  numeric_gradient(scale, [&](const auto& at) { return weighted(naive(x, at, {}, rows, n, rms), dy); }),
                  1e-7);
      if (rms) continue;
      expect_near(
          g.dshift,
          numeric_gradient(shift, [&](const auto& at) { return weighted(naive(x, scale, at, rows, n, false), dy); }),
          1e-7);
    }
  }
}

TEST(LayerNormFloat, BackwardIsNearDouble) {
  for (const auto& [rows, n] : std::vector<std::pair<int64_t, int64_t>>{{4, 5}, {30, 300}, {2, 1}, {0, 9}}) {
    const auto x = random_values<float>(rows * n, 1);
    const auto scale = random_values<float>(n, 2);
    const auto dy = random_values<float>(rows * n, 4);
    for (const bool rms : {false, true}) {
      const auto g = backward(x, scale, dy, rows, n, rms, true);
      const auto e = backward(widened(x), widened(scale), widened(dy), rows, n, rms, true);
      expect_near(g.dx, e.dx, n == 1 ? 1e-3 : 1e-5);
      expect_near(g.dscale, e.dscale, n == 1 ? 1e-3 : 1e-5);
      expect_near(g.dshift, e.dshift, 1e-5);
    }
  }
}

TYPED_TEST(LayerNorm, SameBitsForEveryAlignmentAndRowCount) {
  using T = TypeParam;
  const int64_t rows = 6, n = 67;
  const auto x = random_values<T>(rows * n, 1);
  const auto dy = random_values<T>(rows * n, 2);
  const auto scale = random_values<T>(n, 3);
  expect_alignment_free<T>({x, dy, scale}, 3 * rows * n, [=](const std::vector<const T*>& in, T* out) {
    std::vector<T> mean(rows), rstd(rows);
    layer_norm_forward<T>(out, mean.data(), rstd.data(), in[0], in[2], nullptr, rows, n, kEps);
    layer_norm_backward_input<T>(out + rows * n, in[1], in[0], mean.data(), rstd.data(), in[2], rows, n);
    layer_norm_backward_params<T>(out + 2 * rows * n, out + 2 * rows * n + n, in[1], in[0], mean.data(), rstd.data(),
                                  rows, n);
  });
  std::vector<T> whole(x.size()), single(x.size()), mean(rows), rstd(rows);
  layer_norm_forward<T>(whole.data(), mean.data(), rstd.data(), x.data(), nullptr, nullptr, rows, n, kEps);
  for (int64_t i = 0; i < rows; ++i) {
    layer_norm_forward<T>(&single[static_cast<size_t>(i * n)], mean.data(), rstd.data(), &x[static_cast<size_t>(i * n)],
                          nullptr, nullptr, 1, n, kEps);
  }
  EXPECT_TRUE(same_bits(whole, single));
}

}  // namespace
}  // namespace troupe::cpu
