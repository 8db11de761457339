#include <array>
#include <limits>

#include "ops/cpu/pointwise.h"
#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class PointwiseBinary : public ::testing::Test {};
TYPED_TEST_SUITE(PointwiseBinary, FloatTypes);

constexpr BinaryOp kOps[] = {BinaryOp::kAdd, BinaryOp::kSub, BinaryOp::kMul, BinaryOp::kDiv,
                             BinaryOp::kMin, BinaryOp::kMax, BinaryOp::kPow};

double apply(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kMin:
      return std::min(a, b);
    case BinaryOp::kMax:
      return std::max(a, b);
    case BinaryOp::kPow:
      return std::pow(a, b);
  }
  return 0.0;
}

int64_t product(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

// Where element `flat` of `shape` lies in a contiguous operand of operand_shape.
int64_t source(int64_t flat, const std::vector<int64_t>& shape, const std::vector<int64_t>& operand_shape) {
  int64_t at = 0, step = 1;
  for (size_t r = 0; r < shape.size(); ++r) {
    const size_t d = shape.size() - 1 - r;
    const int64_t index = flat % shape[d];
    flat /= shape[d];
    if (r >= operand_shape.size()) continue;
    const int64_t size = operand_shape[operand_shape.size() - 1 - r];
    at += (size == 1 ? 0 : index) * step;
    step *= size;
  }
  return at;
}

TYPED_TEST(PointwiseBinary, BroadcastsLikeNumpy) {
  using T = TypeParam;
  using Shape = std::vector<int64_t>;
  const std::vector<std::array<Shape, 3>> shapes = {{Shape{6, 50}, Shape{6, 50}, Shape{6, 50}},
                                                    {Shape{6, 50}, Shape{6, 50}, Shape{50}},
                                                    {Shape{6, 50}, Shape{6, 1}, Shape{6, 50}},
                                                    {Shape{6, 50}, Shape{1}, Shape{6, 50}},
                                                    {Shape{6, 50}, Shape{6, 50}, Shape{}},
                                                    {Shape{4, 3, 300}, Shape{4, 1, 300}, Shape{3, 1}},
                                                    {Shape{2, 3, 4, 5}, Shape{3, 1, 5}, Shape{2, 1, 4, 1}},
                                                    {Shape{}, Shape{}, Shape{}},
                                                    {Shape{0, 5}, Shape{0, 5}, Shape{5}},
                                                    {Shape{1, 7, 1}, Shape{7, 1}, Shape{1, 1, 1}}};
  for (const auto& [shape, a_shape, b_shape] : shapes) {
    const auto a = random_values<T>(product(a_shape), 1, 0.5, 2);
    const auto b = random_values<T>(product(b_shape), 2, 0.5, 2);
    const int ndim = static_cast<int>(shape.size());
    int64_t sa[kMaxDims], sb[kMaxDims];
    broadcast_strides(sa, a_shape.data(), static_cast<int>(a_shape.size()), shape.data(), ndim);
    broadcast_strides(sb, b_shape.data(), static_cast<int>(b_shape.size()), shape.data(), ndim);
    for (const BinaryOp op : kOps) {
      std::vector<T> out(static_cast<size_t>(product(shape)));
      binary_broadcast(op, out.data(), a.data(), sa, b.data(), sb, shape.data(), ndim);
      std::vector<double> expected;
      for (int64_t i = 0; i < product(shape); ++i) {
        expected.push_back(apply(op, static_cast<double>(a[static_cast<size_t>(source(i, shape, a_shape))]),
                                 static_cast<double>(b[static_cast<size_t>(source(i, shape, b_shape))])));
      }
      expect_near(out, expected, sizeof(T) == 4 ? 1e-6 : 1e-14);
    }
    std::vector<uint8_t> less(static_cast<size_t>(product(shape)));
    compare_broadcast(CompareOp::kLess, less.data(), a.data(), sa, b.data(), sb, shape.data(), ndim);
    std::vector<T> smaller(less.size()), chosen(less.size());
    where_broadcast(
        chosen.data(), less.data(),
        [&] {
          static int64_t contiguous[kMaxDims];
          broadcast_strides(contiguous, shape.data(), ndim, shape.data(), ndim);
          return contiguous;
        }(),
        a.data(), sa, b.data(), sb, shape.data(), ndim);
    binary_broadcast(BinaryOp::kMin, smaller.data(), a.data(), sa, b.data(), sb, shape.data(), ndim);
    EXPECT_TRUE(same_bits(chosen, smaller));
  }
}

TYPED_TEST(PointwiseBinary, ReadsAnyStrides) {
  using T = TypeParam;
  const int64_t m = 20, n = 300;
  const auto a = random_values<T>(m * n, 1);
  const auto b = random_values<T>(m * n, 2);
  const int64_t shape[] = {m, n}, transposed[] = {1, m}, plain[] = {n, 1};
  std::vector<T> out(a.size()), expected(a.size());
  binary_broadcast(BinaryOp::kSub, out.data(), a.data(), transposed, b.data(), plain, shape, 2);
  for (int64_t i = 0; i < m * n; ++i) {
    expected[static_cast<size_t>(i)] = a[static_cast<size_t>(i % n * m + i / n)] - b[static_cast<size_t>(i)];
  }
  EXPECT_TRUE(same_bits(out, expected));
}

TYPED_TEST(PointwiseBinary, ShortFormsEqualTheGeneralOne) {
  using T = TypeParam;
  const int64_t m = 3, n = 37;
  const auto a = random_values<T>(m * n, 1, 0.5, 2);
  const auto b = random_values<T>(m * n, 2, 0.5, 2);
  const int64_t shape[] = {m, n}, full[] = {n, 1}, row[] = {0, 1}, scalar[] = {0, 0};
  for (const BinaryOp op : kOps) {
    std::vector<T> general(a.size()), brief(a.size());
    binary_broadcast(op, general.data(), a.data(), full, b.data(), full, shape, 2);
    binary(op, brief.data(), a.data(), b.data(), m * n);
    EXPECT_TRUE(same_bits(general, brief));
    binary_broadcast(op, general.data(), a.data(), full, b.data(), row, shape, 2);
    binary_row(op, brief.data(), a.data(), b.data(), m, n);
    EXPECT_TRUE(same_bits(general, brief));
    binary_broadcast(op, general.data(), a.data(), full, b.data(), scalar, shape, 2);
    binary_scalar(op, brief.data(), a.data(), b[0], m * n);
    EXPECT_TRUE(same_bits(general, brief));
    binary_broadcast(op, general.data(), b.data(), scalar, a.data(), full, shape, 2);
    scalar_binary(op, brief.data(), b[0], a.data(), m * n);
    EXPECT_TRUE(same_bits(general, brief));
  }
  std::vector<T> squares(a.size());
  binary_scalar(BinaryOp::kPow, squares.data(), a.data(), T(2), m * n);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(squares[i], std::pow(a[i], T(2)));
}

TYPED_TEST(PointwiseBinary, MinAndMaxKeepNan) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> a = {nan, 1, nan, 2}, b = {1, nan, nan, 3};
  std::vector<T> out(4);
  binary(BinaryOp::kMax, out.data(), a.data(), b.data(), 4);
  expect_near(out, std::vector<T>{nan, nan, nan, 3});
  binary(BinaryOp::kMin, out.data(), a.data(), b.data(), 4);
  expect_near(out, std::vector<T>{nan, nan, nan, 2});
}

TEST(Compare, AllOpsAndTypes) {
  const std::vector<int64_t> a = {1, 2, 3}, b = {2, 2, 2};
  const int64_t shape[] = {3}, step[] = {1};
  const auto expect = [&](CompareOp op, std::vector<uint8_t> expected) {
    std::vector<uint8_t> out(3), scalar(3);
    compare_broadcast(op, out.data(), a.data(), step, b.data(), step, shape, 1);
    compare_scalar<int64_t>(op, scalar.data(), a.data(), 2, 3);
    EXPECT_EQ(out, expected);
    EXPECT_EQ(scalar, expected);
  };
  expect(CompareOp::kEqual, {0, 1, 0});
  expect(CompareOp::kNotEqual, {1, 0, 1});
  expect(CompareOp::kLess, {1, 0, 0});
  expect(CompareOp::kLessEqual, {1, 1, 0});
  expect(CompareOp::kGreater, {0, 0, 1});
  expect(CompareOp::kGreaterEqual, {0, 1, 1});
  const std::vector<uint8_t> condition = {0, 1, 7};
  std::vector<int64_t> out(3);
  where(out.data(), condition.data(), a.data(), b.data(), 3);
  EXPECT_EQ(out, (std::vector<int64_t>{2, 2, 3}));
}

}  // namespace
}  // namespace troupe::cpu
