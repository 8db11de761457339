// Helpers of the tests in this folder.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace troupe::cpu {

template <typename T>
std::vector<T> random_values(int64_t n, uint32_t seed, double low = -2.0, double high = 2.0) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> draw(low, high);
  std::vector<T> values(static_cast<size_t>(n));
  for (T& v : values) v = static_cast<T>(draw(engine));
  return values;
}

template <typename T>
inline constexpr double kTolerance = sizeof(T) == 4 ? 2e-6 : 1e-12;

// |actual - expected| <= tolerance * max(1, |expected|), NaN equal to NaN.
template <typename T, typename U>
void expect_near(const std::vector<T>& actual, const std::vector<U>& expected, double tolerance = kTolerance<T>) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = static_cast<double>(actual[i]);
    const double e = static_cast<double>(expected[i]);
    if ((std::isnan(a) && std::isnan(e)) || a == e) continue;
    ASSERT_LE(std::abs(a - e), tolerance * std::max(1.0, std::abs(e))) << "at " << i << ": " << a << " is not " << e;
  }
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <typename T>
std::vector<double> widened(const std::vector<T>& values) {
  return std::vector<double>(values.begin(), values.end());
}

// A copy of values whose begin is `offset` elements past an aligned address.
template <typename T>
class Shifted {
 public:
  Shifted(const std::vector<T>& values, int64_t offset) : size_(values.size()), storage_(values.size() + 32) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    begin_ = storage_.data() + ((64 - address % 64) % 64) / sizeof(T) + static_cast<size_t>(offset);
    std::copy(values.begin(), values.end(), begin_);
  }
  Shifted(const Shifted&) = delete;
  Shifted& operator=(const Shifted&) = delete;
  T* data() { return begin_; }
  std::vector<T> values() const { return std::vector<T>(begin_, begin_ + size_); }

 private:
  size_t size_;
  std::vector<T> storage_;
  T* begin_;
};

// run(inputs, out) must write the same bits for every alignment of its pointers.
template <typename T>
void expect_alignment_free(const std::vector<std::vector<T>>& inputs, int64_t out_size,
                           const std::function<void(const std::vector<const T*>&, T*)>& run) {
  std::vector<T> first;
  for (int64_t offset = 0; offset < 4; ++offset) {
    std::vector<std::unique_ptr<Shifted<T>>> copies;
    std::vector<const T*> pointers;
    for (size_t i = 0; i < inputs.size(); ++i) {
      copies.push_back(std::make_unique<Shifted<T>>(inputs[i], (offset * (static_cast<int64_t>(i) + 1)) % 7));
      pointers.push_back(copies.back()->data());
    }
    Shifted<T> out(std::vector<T>(static_cast<size_t>(out_size)), (offset * 3) % 7);
    run(pointers, out.data());
    if (offset == 0) first = out.values();
    EXPECT_TRUE(same_bits(first, out.values())) << "offset " << offset;
  }
}

// The gradient of loss(x) by central differences.
inline std::vector<double> numeric_gradient(std::vector<double> x,
                                            const std::function<double(const std::vector<double>&)>& loss,
                                            double step = 1e-5) {
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = x[i];
    x[i] = value + step;
    const double up = loss(x);
    x[i] = value - step;
    const double down = loss(x);
    x[i] = value;
    gradient[i] = (up - down) / (2.0 * step);
  }
  return gradient;
}

// sum of values[i] * weights[i]: a scalar loss whose gradient with respect to values is weights.
inline double weighted(const std::vector<double>& values, const std::vector<double>& weights) {
  double sum = 0.0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[i] * weights[i];
  return sum;
}

using FloatTypes = ::testing::Types<float, double>;

}  // namespace troupe::cpu
