#include "ops/cpu/pointwise.h"

#include <limits>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Pointwise : public ::testing::Test {};
TYPED_TEST_SUITE(Pointwise, FloatTypes);

template <typename T>
using Unary = void (*)(T*, const T*, int64_t);
template <typename T>
using Backward = void (*)(T*, const T*, const T*, int64_t);

double reference_gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double reference_gelu_tanh(double x) {
  return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}
double reference_sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

template <typename T>
struct Case {
  const char* name;
  Unary<T> kernel;
  double (*reference)(double);
  double low, high;
};

template <typename T>
std::vector<Case<T>> cases() {
  return {{"neg", neg<T>, [](double x) { return -x; }, -5, 5},
          {"abs", abs<T>, [](double x) { return std::abs(x); }, -5, 5},
          {"square", square<T>, [](double x) { return x * x; }, -5, 5},
          {"sqrt", sqrt<T>, [](double x) { return std::sqrt(x); }, 0, 9},
          {"rsqrt", rsqrt<T>, [](double x) { return 1 / std::sqrt(x); }, 0.1, 9},
          {"reciprocal", reciprocal<T>, [](double x) { return 1 / x; }, 0.1, 9},
          {"exp", exp<T>, [](double x) { return std::exp(x); }, -80, 80},
          {"log", log<T>, [](double x) { return std::log(x); }, 1e-6, 100},
          {"sin", sin<T>, [](double x) { return std::sin(x); }, -20, 20},
          {"cos", cos<T>, [](double x) { return std::cos(x); }, -20, 20},
          {"erf", erf<T>, [](double x) { return std::erf(x); }, -5, 5},
          {"tanh", tanh<T>, [](double x) { return std::tanh(x); }, -10, 10},
          {"sigmoid", sigmoid<T>, reference_sigmoid, -20, 20},
          {"silu", silu<T>, [](double x) { return x * reference_sigmoid(x); }, -20, 20},
          {"relu", relu<T>, [](double x) { return x > 0 ? x : 0.0; }, -5, 5},
          {"sign", sign<T>, [](double x) { return x > 0 ? 1.0 : -1.0; }, -5, 5},
          {"gelu", gelu<T>, reference_gelu, -8, 8},
          {"gelu_tanh", gelu_tanh<T>, reference_gelu_tanh, -8, 8}};
}

TYPED_TEST(Pointwise, OneInputMatchesTheReference) {
  using T = TypeParam;
  for (const auto& c : cases<T>()) {
    SCOPED_TRACE(c.name);
    for (const int64_t n : {0, 1, 7, 16, 33, 1000}) {
      const auto x = random_values<T>(n, 5, c.low, c.high);
      std::vector<T> y(x.size());
      c.kernel(y.data(), x.data(), n);
      std::vector<double> expected;
      for (const T v : x) expected.push_back(c.reference(static_cast<double>(v)));
      expect_near(y, expected, sizeof(T) == 4 ? 5e-7 : 1e-13);
    }
  }
}

TYPED_TEST(Pointwise, AnElementDoesNotDependOnItsPosition) {
  using T = TypeParam;
  for (const auto& c : cases<T>()) {
    SCOPED_TRACE(c.name);
    const auto x = random_values<T>(77, 6, c.low, c.high);
    std::vector<T> whole(x.size()), single(x.size());
    c.kernel(whole.data(), x.data(), 77);
    for (size_t i = 0; i < x.size(); ++i) c.kernel(&single[i], &x[i], 1);
    EXPECT_TRUE(same_bits(whole, single));
    auto in_place = x;
    c.kernel(in_place.data(), in_place.data(), 77);
    EXPECT_TRUE(same_bits(whole, in_place));
    const auto run = [&](const std::vector<const T*>& in, T* out) { c.kernel(out, in[0], 77); };
    expect_alignment_free<T>({x}, 77, run);
  }
}

TYPED_TEST(Pointwise, Limits) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> x = {inf, -inf, nan, T(0), T(1000), T(-1000)};
  std::vector<T> y(6);
  const auto expect = [&](Unary<T> kernel, std::vector<T> expected) {
    kernel(y.data(), x.data(), 6);
    expect_near(y, expected, 0.0);
  };
  expect(exp<T>, {inf, 0, nan, 1, inf, 0});
  expect(log<T>, {inf, nan, nan, -inf, static_cast<T>(std::log(1000.0)), nan});
  expect(tanh<T>, {1, -1, nan, 0, 1, -1});
  expect(erf<T>, {1, -1, nan, 0, 1, -1});
  expect(sigmoid<T>, {1, 0, nan, T(0.5), 1, 0});
  expect(relu<T>, {inf, 0, nan, 0, 1000, 0});
  y = {1, 1, 1, 1, 1, 1};
  const std::vector<T> big = {T(1e30), T(-1e30), T(1000), T(-1000), T(100), T(-100)};
  std::vector<T> slope(6);
  gelu_backward(slope.data(), y.data(), big.data(), 6);
  expect_near(slope, std::vector<T>{1, 0, 1, 0, 1, 0}, 0.0);
  gelu_tanh_backward(slope.data(), y.data(), big.data(), 6);
  expect_near(slope, std::vector<T>{1, 0, 1, 0, 1, 0}, 0.0);
}

TEST(PointwiseFloat, WithinTwoUnitsInTheLastPlace) {
  const auto worst = [](Unary<float> kernel, double (*reference)(double), double low, double high) {
    const int64_t n = 200000;
    const auto x = random_values<float>(n, 7, low, high);
    std::vector<float> y(x.size());
    kernel(y.data(), x.data(), n);
    double most = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double e = reference(static_cast<double>(x[i]));
      const float rounded = static_cast<float>(e);
      const double unit =
          static_cast<double>(std::nextafter(std::abs(rounded), 1e38f)) - std::abs(static_cast<double>(rounded));
      most = std::max(most, std::abs(static_cast<double>(y[i]) - e) / unit);
    }
    return most;
  };
  EXPECT_LT(worst(exp<float>, [](double x) { return std::exp(x); }, -103, 88.7), 2.0);
  EXPECT_LT(worst(log<float>, [](double x) { return std::log(x); }, 1e-38, 10), 2.0);
  EXPECT_LT(worst(tanh<float>, [](double x) { return std::tanh(x); }, -10, 10), 2.0);
  EXPECT_LT(worst(erf<float>, [](double x) { return std::erf(x); }, -4, 4), 2.0);
  EXPECT_LT(worst(sigmoid<float>, reference_sigmoid, -80, 80), 3.0);
}

TEST(PointwiseDouble, BackwardMatchesFiniteDifferences) {
  struct Pair {
    const char* name;
    Unary<double> forward;
    Backward<double> backward;
    bool takes_output;
    double low, high;
  };
  const std::vector<Pair> pairs = {{"relu", relu<double>, relu_backward<double>, true, -3, 3},
                                   {"tanh", tanh<double>, tanh_backward<double>, true, -3, 3},
                                   {"sigmoid", sigmoid<double>, sigmoid_backward<double>, true, -3, 3},
                                   {"silu", silu<double>, silu_backward<double>, false, -3, 3},
                                   {"gelu", gelu<double>, gelu_backward<double>, false, -4, 4},
                                   {"gelu_tanh", gelu_tanh<double>, gelu_tanh_backward<double>, false, -4, 4},
                                   {"sqrt", sqrt<double>, sqrt_backward<double>, true, 0.5, 3},
                                   {"rsqrt", rsqrt<double>, rsqrt_backward<double>, true, 0.5, 3},
                                   {"abs", abs<double>, abs_backward<double>, false, 0.1, 3}};
  for (const auto& p : pairs) {
    SCOPED_TRACE(p.name);
    const int64_t n = 37;
    const auto x = random_values<double>(n, 8, p.low, p.high);
    const auto dy = random_values<double>(n, 9);
    std::vector<double> y(x.size()), dx(x.size());
    p.forward(y.data(), x.data(), n);
    p.backward(dx.data(), dy.data(), p.takes_output ? y.data() : x.data(), n);
    const auto loss = [&](const std::vector<double>& at) {
      std::vector<double> out(at.size());
      p.forward(out.data(), at.data(), n);
      return weighted(out, dy);
    };
    expect_near(dx, numeric_gradient(x, loss), 1e-8);
    std::vector<float> dyf(dy.begin(), dy.end()), xf(x.begin(), x.end());
    if (std::string(p.name) == "gelu") {
      std::vector<float> dxf(x.size());
      gelu_backward(dxf.data(), dyf.data(), xf.data(), n);
      expect_near(dxf, dx, 2e-6);
    }
  }
}

TYPED_TEST(Pointwise, SumsAndChecks) {
  using T = TypeParam;
  for (const int64_t n : {0, 3, 50}) {
    const auto a = random_values<T>(n, 1);
    const auto b = random_values<T>(n, 2);
    std::vector<T> sum(a.size()), acc = a, scaled = a, product(a.size()), expected, expected_scaled, expected_product;
    for (size_t i = 0; i < a.size(); ++i) {
      expected.push_back(a[i] + b[i]);
      expected_scaled.push_back(a[i] + T(3) * b[i]);
      expected_product.push_back(T(3) * b[i]);
    }
    add_to(sum.data(), a.data(), b.data(), n);
    add_in_place(acc.data(), b.data(), n);
    add_scaled(scaled.data(), T(3), b.data(), n);
    scale_to(product.data(), T(3), b.data(), n);
    EXPECT_EQ(sum, expected);
    EXPECT_EQ(acc, expected);
    expect_near(scaled, expected_scaled);
    EXPECT_EQ(product, expected_product);
  }
  std::vector<T> x(10001, T(1));
  EXPECT_FALSE(any_nonfinite(x.data(), 10001));
  EXPECT_FALSE(any_nonfinite(x.data(), 0));
  for (const T bad :
       {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
    for (const size_t at : {size_t{0}, size_t{5000}, size_t{10000}}) {
      x[at] = bad;
      EXPECT_TRUE(any_nonfinite(x.data(), 10001));
      x[at] = std::numeric_limits<T>::max();
      EXPECT_FALSE(any_nonfinite(x.data(), 10001));
    }
  }
}

TYPED_TEST(Pointwise, BiasGelu) {
  using T = TypeParam;
  const int64_t m = 5, n = 21;
  const auto x = random_values<T>(m * n, 1);
  const auto bias = random_values<T>(n, 2);
  std::vector<T> pre(x.size()), out(x.size()), without(x.size());
  bias_gelu(out.data(), pre.data(), x.data(), bias.data(), m, n);
  bias_gelu<T>(without.data(), nullptr, x.data(), bias.data(), m, n);
  std::vector<T> expected_pre(x.size()), expected(x.size());
  binary_row(BinaryOp::kAdd, expected_pre.data(), x.data(), bias.data(), m, n);
  gelu(expected.data(), expected_pre.data(), m * n);
  EXPECT_TRUE(same_bits(pre, expected_pre));
  EXPECT_TRUE(same_bits(out, expected));
  EXPECT_TRUE(same_bits(without, expected));
}

}  // namespace
}  // namespace troupe::cpu
