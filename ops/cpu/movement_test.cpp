#include "ops/cpu/movement.h"

#include <limits>
#include <numeric>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename E>
std::vector<E> counted(int64_t n) {
  std::vector<E> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) std::memcpy(&values[i], &i, std::min(sizeof(E), sizeof(i)));
  return values;
}

struct Odd {
  char bytes[3];
  bool operator==(const Odd& o) const { return std::memcmp(bytes, o.bytes, 3) == 0; }
};
struct Wide {
  int64_t a, b;
  bool operator==(const Wide& o) const { return a == o.a && b == o.b; }
};

template <typename E>
void check_permute(const std::vector<int64_t>& shape, const std::vector<int>& perm) {
  const int ndim = static_cast<int>(shape.size());
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  const auto src = counted<E>(n);
  std::vector<E> dst(src.size()), expected(src.size());
  std::vector<int64_t> strides(shape.size(), 1);
  for (int d = ndim - 2; d >= 0; --d) strides[d] = strides[d + 1] * shape[d + 1];
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i, at = 0;
    for (int d = ndim - 1; d >= 0; --d) {
      at += rest % shape[perm[d]] * strides[perm[d]];
      rest /= shape[perm[d]];
    }
    expected[static_cast<size_t>(i)] = src[static_cast<size_t>(at)];
  }
  permute(dst.data(), src.data(), shape.data(), perm.data(), ndim, sizeof(E));
  EXPECT_TRUE(dst == expected);
}

TEST(CopyPart, CopiesItsBytesAloneAtAnyAlignment) {
  const auto from = counted<uint16_t>(5000);
  for (const int64_t whole : {int64_t{1}, int64_t{1} << 30}) {
    for (const int64_t bytes : {0, 1, 63, 64, 65, 127, 1000, 4096}) {
      for (const size_t shift : {0, 1, 8, 63, 64}) {
        std::vector<std::byte> to(6000, std::byte{7}), expected = to;
        std::memcpy(expected.data() + shift, from.data(), static_cast<size_t>(bytes));
        copy_part(to.data() + shift, from.data(), bytes, whole);
        EXPECT_EQ(to, expected) << whole << " " << bytes << " " << shift;
      }
    }
  }
}

TEST(Permute, AllElementSizesAndOrders) {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int>>> cases = {
      {{37, 50}, {1, 0}},
      {{3, 20, 35}, {0, 2, 1}},
      {{3, 20, 35}, {2, 0, 1}},
      {{3, 20, 35}, {1, 0, 2}},
      {{2, 16, 4, 32}, {0, 2, 1, 3}},
      {{2, 3, 4, 5}, {3, 2, 1, 0}},
      {{1, 1, 5}, {2, 1, 0}},
      {{0, 4}, {1, 0}},
      {{}, {}},
      {{64, 64}, {1, 0}},
      {{2, 2, 2, 2, 2, 2, 2, 3}, {7, 0, 6, 1, 5, 2, 4, 3}}};
  for (const auto& [shape, perm] : cases) {
    check_permute<uint8_t>(shape, perm);
    check_permute<uint16_t>(shape, perm);
    check_permute<uint32_t>(shape, perm);
    check_permute<uint64_t>(shape, perm);
    check_permute<Wide>(shape, perm);
    check_permute<Odd>(shape, perm);
  }
}

TEST(CopyStrided, BroadcastsAndFlips) {
  const std::vector<float> src = {1, 2, 3};
  const int64_t shape[] = {2, 3}, broadcast[] = {0, 1}, flip[] = {0, -1};
  std::vector<float> dst(6);
  copy_strided(dst.data(), src.data(), broadcast, shape, 2, 4);
  EXPECT_EQ(dst, (std::vector<float>{1, 2, 3, 1, 2, 3}));
  copy_strided(dst.data(), src.data() + 2, flip, shape, 2, 4);
  EXPECT_EQ(dst, (std::vector<float>{3, 2, 1, 3, 2, 1}));
}

TEST(Box, CopyAddAndFillTouchTheBoxOnly) {
  const int64_t dst_shape[] = {4, 5, 6}, src_shape[] = {3, 9, 4};
  const int64_t dst_offset[] = {1, 2, 3}, src_offset[] = {0, 4, 1}, extent[] = {3, 2, 3};
  const auto src = random_values<double>(3 * 9 * 4, 1);
  const auto before = random_values<double>(4 * 5 * 6, 2);
  auto copied = before, added = before, filled = before, expected_copy = before, expected_add = before,
       expected_fill = before;
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 2; ++j) {
      for (int64_t k = 0; k < 3; ++k) {
        const auto to = static_cast<size_t>(((1 + i) * 5 + 2 + j) * 6 + 3 + k);
        const double value = src[static_cast<size_t>((i * 9 + 4 + j) * 4 + 1 + k)];
        expected_copy[to] = value;
        expected_add[to] += value;
        expected_fill[to] = 9.0;
      }
    }
  }
  copy_box(copied.data(), dst_shape, dst_offset, src.data(), src_shape, src_offset, extent, 3, 8);
  add_box(added.data(), dst_shape, dst_offset, src.data(), src_shape, src_offset, extent, 3);
  fill_box(filled.data(), dst_shape, dst_offset, extent, 3, 9.0);
  EXPECT_EQ(copied, expected_copy);
  EXPECT_EQ(added, expected_add);
  EXPECT_EQ(filled, expected_fill);
  const int64_t empty[] = {3, 0, 3};
  copy_box(copied.data(), dst_shape, dst_offset, src.data(), src_shape, src_offset, empty, 3, 8);
  EXPECT_EQ(copied, expected_copy);
  double scalar = 0.0;
  copy_box(&scalar, nullptr, nullptr, src.data(), nullptr, nullptr, nullptr, 0, 8);
  EXPECT_EQ(scalar, src[0]);
}

TEST(Fill, AndArange) {
  std::vector<int64_t> x(5);
  fill<int64_t>(x.data(), 7, 4);
  EXPECT_EQ(x, (std::vector<int64_t>{7, 7, 7, 7, 0}));
  arange<int64_t>(x.data(), 2, 3, 5);
  EXPECT_EQ(x, (std::vector<int64_t>{2, 5, 8, 11, 14}));
}

template <typename To, typename From>
std::vector<To> converted(const std::vector<From>& x) {
  std::vector<To> y(x.size());
  cast(y.data(), x.data(), static_cast<int64_t>(x.size()));
  return y;
}

TEST(Cast, BetweenAllTypes) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {0.0f, -1.9f, 2.5f, 3e9f, -3e9f, inf, -inf, std::nanf("")};
  const int32_t top = std::numeric_limits<int32_t>::max(), low = std::numeric_limits<int32_t>::min();
  EXPECT_EQ((converted<int32_t>(x)), (std::vector<int32_t>{0, -1, 2, top, low, top, low, 0}));
  const int64_t top64 = std::numeric_limits<int64_t>::max(), low64 = std::numeric_limits<int64_t>::min();
  EXPECT_EQ((converted<int64_t>(x)), (std::vector<int64_t>{0, -1, 2, 3000000000, -3000000000, top64, low64, 0}));
  EXPECT_EQ((converted<uint8_t>(x)), (std::vector<uint8_t>{0, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ((converted<int32_t>(std::vector<int64_t>{int64_t{1} << 40, -5})), (std::vector<int32_t>{top, -5}));
  EXPECT_EQ((converted<float>(std::vector<uint8_t>{0, 1, 200})), (std::vector<float>{0, 1, 1}));
  EXPECT_EQ((converted<double>(std::vector<float>{1.5f})), (std::vector<double>{1.5}));
  EXPECT_EQ((converted<float>(std::vector<double>{0.1})), (std::vector<float>{0.1f}));
  EXPECT_EQ((converted<float>(std::vector<int64_t>{1 << 20})), (std::vector<float>{1048576.0f}));
}

}  // namespace
}  // namespace troupe::cpu
