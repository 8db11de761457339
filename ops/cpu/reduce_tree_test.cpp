#include "ops/cpu/reduce_tree.h"

#include <limits>

#include "ops/cpu/reduce.h"
#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class ReduceTree : public ::testing::Test {};
TYPED_TEST_SUITE(ReduceTree, FloatTypes);

TEST(CanonicalTree, Programs) {
  const auto program = [](int64_t n) {
    std::vector<int> p(static_cast<size_t>(n > 0 ? 2 * n - 1 : 0));
    EXPECT_EQ(canonical_tree_program(p.data(), n), static_cast<int64_t>(p.size()));
    return p;
  };
  EXPECT_EQ(program(0), (std::vector<int>{}));
  EXPECT_EQ(program(1), (std::vector<int>{0}));
  EXPECT_EQ(program(3), (std::vector<int>{0, 1, -1, 2, -1}));
  EXPECT_EQ(program(6), (std::vector<int>{0, 1, -1, 2, 3, -1, -1, 4, 5, -1, -1}));
}

TYPED_TEST(ReduceTree, FollowsTheProgramInTheRange) {
  using T = TypeParam;
  for (const int64_t n : {1, 2, 3, 7, 8, 13}) {
    const int64_t size = 1200;
    std::vector<std::vector<T>> inputs;
    std::vector<const T*> pointers;
    for (int64_t i = 0; i < n; ++i) inputs.push_back(random_values<T>(size, static_cast<uint32_t>(i)));
    for (const auto& input : inputs) pointers.push_back(input.data());
    std::vector<int> program(static_cast<size_t>(2 * n - 1));
    canonical_tree_program(program.data(), n);
    const auto length = static_cast<int64_t>(program.size());
    for (const auto& [lo, hi] : std::vector<std::pair<int64_t, int64_t>>{{0, size}, {3, 1100}, {5, 5}, {700, 701}}) {
      std::vector<T> out(static_cast<size_t>(size), T(-7)), expected = out, top = out, bottom = out;
      std::vector<T> expected_top = out, expected_bottom = out;
      for (auto i = static_cast<size_t>(lo); i < static_cast<size_t>(hi); ++i) {
        std::vector<T> column;
        for (const auto& input : inputs) column.push_back(input[i]);
        expected[i] = tree_sum(column.data(), n);
        expected_top[i] = *std::max_element(column.begin(), column.end());
        expected_bottom[i] = *std::min_element(column.begin(), column.end());
      }
      sum_tree(out.data(), pointers.data(), n, program.data(), length, lo, hi);
      reduce_tree(TreeOp::kMax, top.data(), pointers.data(), n, program.data(), length, lo, hi);
      reduce_tree(TreeOp::kMin, bottom.data(), pointers.data(), n, program.data(), length, lo, hi);
      EXPECT_TRUE(same_bits(out, expected));
      EXPECT_TRUE(same_bits(top, expected_top));
      EXPECT_TRUE(same_bits(bottom, expected_bottom));
    }
  }
}

// Large outputs are written past the caches: the same bits as in parts, at any alignment.
TYPED_TEST(ReduceTree, LargeOutputsHaveTheSameBits) {
  using T = TypeParam;
  const int64_t size = (int64_t{9} << 20) / static_cast<int64_t>(sizeof(T)) + 5;
  std::vector<std::vector<T>> inputs;
  for (uint32_t i = 0; i < 3; ++i) inputs.push_back(random_values<T>(size, i));
  const T* pointers[] = {inputs[0].data(), inputs[1].data(), inputs[2].data()};
  const std::vector<int> program = {0, 1, -1, 2, -1};
  const size_t line = 64 / sizeof(T);
  for (const size_t shift : {0, 1}) {
    std::vector<T> room(static_cast<size_t>(size) + 2 * line, T(-7));
    std::vector<T> parts = room;
    const auto begin = [&](std::vector<T>& of) {
      const size_t past = reinterpret_cast<uintptr_t>(of.data()) % 64 / sizeof(T);
      return of.data() + (line - past) + shift;
    };
    sum_tree(begin(room), pointers, 3, program.data(), 5, 0, size);
    for (int64_t lo = 0; lo < size; lo += 100'003) {
      sum_tree(begin(parts), pointers, 3, program.data(), 5, lo, std::min(size, lo + 100'003));
    }
    EXPECT_EQ(std::memcmp(begin(room), begin(parts), static_cast<size_t>(size) * sizeof(T)), 0);
    EXPECT_EQ(begin(room)[size], T(-7));
  }
}

TYPED_TEST(ReduceTree, AnInputMayBeTheOutput) {
  using T = TypeParam;
  const int64_t size = 1000;
  for (int which = 0; which < 3; ++which) {
    std::vector<std::vector<T>> inputs = {random_values<T>(size, 1), random_values<T>(size, 2),
                                          random_values<T>(size, 3)};
    const std::vector<int> program = {2, 0, 1, -1, -1};  // right-leaning: input 2 + (input 0 + input 1)
    std::vector<T> expected;
    for (size_t i = 0; i < static_cast<size_t>(size); ++i)
      expected.push_back(inputs[2][i] + (inputs[0][i] + inputs[1][i]));
    const T* pointers[] = {inputs[0].data(), inputs[1].data(), inputs[2].data()};
    T* out = inputs[static_cast<size_t>(which)].data();
    sum_tree(out, pointers, 3, program.data(), 5, 0, size);
    EXPECT_TRUE(same_bits(inputs[static_cast<size_t>(which)], expected));
  }
}

}  // namespace
}  // namespace troupe::cpu
