#include "ops/cpu/reduce.h"

#include <limits>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class Reduce : public ::testing::Test {};
TYPED_TEST_SUITE(Reduce, FloatTypes);

std::vector<double> naive(ReduceOp op, const std::vector<double>& x, const std::vector<int64_t>& shape, unsigned mask) {
  int64_t outputs = 1, count = 1;
  for (size_t d = 0; d < shape.size(); ++d) (mask >> d & 1 ? count : outputs) *= shape[d];
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<double> out(static_cast<size_t>(outputs), op == ReduceOp::kMax ? -inf : op == ReduceOp::kMin ? inf : 0.0);
  for (size_t i = 0; i < x.size(); ++i) {
    int64_t flat = static_cast<int64_t>(i), at = 0, step = 1;
    for (size_t r = shape.size(); r-- > 0;) {
      if (!(mask >> r & 1)) {
        at += flat % shape[r] * step;
        step *= shape[r];
      }
      flat /= shape[r];
    }
    double& to = out[static_cast<size_t>(at)];
    to = op == ReduceOp::kMax ? std::max(to, x[i]) : op == ReduceOp::kMin ? std::min(to, x[i]) : to + x[i];
  }
  if (op == ReduceOp::kMean) {
    for (double& v : out) v /= static_cast<double>(count);
  }
  return out;
}

TYPED_TEST(Reduce, EverySubsetOfDims) {
  using T = TypeParam;
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{
           {3, 5, 2, 7}, {300}, {4, 300}, {1, 5, 1, 9}, {}, {2, 0, 3}, {33, 1}, {2, 3, 1, 4, 5}}) {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    const auto x = random_values<T>(n, 4);
    for (unsigned mask = 0; mask < 1u << shape.size(); ++mask) {
      bool reduced[8] = {};
      for (size_t d = 0; d < shape.size(); ++d) reduced[d] = mask >> d & 1;
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMean, ReduceOp::kMax, ReduceOp::kMin}) {
        const auto expected = naive(op, widened(x), shape, mask);
        std::vector<T> out(expected.size(), T(-77));
        reduce(op, out.data(), x.data(), shape.data(), reduced, static_cast<int>(shape.size()));
        expect_near(out, expected, sizeof(T) == 4 ? 1e-6 : 1e-13);
      }
    }
  }
}

TYPED_TEST(Reduce, FloatSumsAreAsGoodAsDouble) {
  using T = TypeParam;
  const int64_t n = 1000003;
  const auto x = random_values<T>(n, 5, 0, 1);
  double expected = 0.0;
  for (const T v : x) expected += static_cast<double>(v);
  T out;
  const bool reduced[] = {true};
  reduce(ReduceOp::kSum, &out, x.data(), &n, reduced, 1);
  EXPECT_NEAR(static_cast<double>(out), expected, expected * (sizeof(T) == 4 ? 6e-8 : 1e-13));
}

TYPED_TEST(Reduce, NanReachesMaxAndMin) {
  using T = TypeParam;
  for (const int64_t n : {1, 20, 200}) {
    for (const bool last : {true, false}) {
      for (const int64_t bad : {int64_t{0}, n / 2, n - 1}) {
        std::vector<T> x(static_cast<size_t>(n), T(1));
        x[static_cast<size_t>(bad)] = std::numeric_limits<T>::quiet_NaN();
        const int64_t shape[] = {last ? 1 : n, last ? n : 1};
        const bool reduced[] = {!last, last};
        T out = 0;
        for (const ReduceOp op : {ReduceOp::kMax, ReduceOp::kMin}) {
          reduce(op, &out, x.data(), shape, reduced, 2);
          EXPECT_TRUE(std::isnan(out));
        }
      }
    }
  }
}

TYPED_TEST(Reduce, SumRowsAndSquares) {
  using T = TypeParam;
  for (const auto& [rows, n] : std::vector<std::pair<int64_t, int64_t>>{{0, 5}, {3, 0}, {7, 300}, {100, 17}}) {
    const auto x = random_values<T>(rows * n, 6);
    std::vector<T> columns(static_cast<size_t>(n), T(1)), squares(static_cast<size_t>(rows));
    sum_rows(columns.data(), x.data(), rows, n);
    expect_near(columns, naive(ReduceOp::kSum, widened(x), {rows, n}, 1), sizeof(T) == 4 ? 1e-6 : 1e-13);
    auto twice = columns;
    sum_rows(twice.data(), x.data(), rows, n, true);
    for (size_t i = 0; i < twice.size(); ++i) EXPECT_EQ(twice[i], columns[i] + columns[i]);
    auto powers = widened(x);
    for (double& v : powers) v *= v;
    row_sum_squares(squares.data(), x.data(), rows, n);
    expect_near(squares, naive(ReduceOp::kSum, powers, {rows, n}, 2), sizeof(T) == 4 ? 1e-6 : 1e-13);
  }
}

TYPED_TEST(Reduce, SameBitsForEveryAlignment) {
  using T = TypeParam;
  const auto x = random_values<T>(9 * 131, 7);
  expect_alignment_free<T>({x}, 9,
                           [](const std::vector<const T*>& in, T* out) { row_sum_squares(out, in[0], 9, 131); });
  expect_alignment_free<T>({x}, 131, [](const std::vector<const T*>& in, T* out) { sum_rows(out, in[0], 9, 131); });
  expect_alignment_free<T>({x}, 1, [](const std::vector<const T*>& in, T* out) {
    const int64_t shape[] = {9, 131};
    const bool reduced[] = {true, true};
    reduce(ReduceOp::kSum, out, in[0], shape, reduced, 2);
  });
}

TYPED_TEST(Reduce, TreeSumFollowsTheTree) {
  using T = TypeParam;
  const auto x = random_values<T>(11, 8);
  EXPECT_EQ(tree_sum(x.data(), 0), T(0));
  EXPECT_EQ(tree_sum(x.data(), 1), x[0]);
  EXPECT_EQ(tree_sum(x.data(), 3), (x[0] + x[1]) + x[2]);
  EXPECT_EQ(tree_sum(x.data(), 6), ((x[0] + x[1]) + (x[2] + x[3])) + (x[4] + x[5]));
  EXPECT_EQ(tree_sum(x.data(), 11), tree_sum(x.data(), 8) + ((x[8] + x[9]) + x[10]));
}

TYPED_TEST(Reduce, Argmax) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> x = {1, 3, 3, 0, nan, 5, -2, -1, -1};
  std::vector<int64_t> out(3);
  argmax(out.data(), x.data(), 3, 3);
  EXPECT_EQ(out, (std::vector<int64_t>{1, 1, 1}));
}

}  // namespace
}  // namespace troupe::cpu
