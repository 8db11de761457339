// What holds for attention on tensor cores beside its numbers: which operands it takes, what queries without keys give, and
// that nothing but what a row sees changes its bits.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "ops/test_operands.h"
#include "tests/cuda/run.h"

namespace troupe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kBfloat16Tolerance = 1.0 / 256 + 1e-4;

Attrs attrs_of(int64_t causal, double scale = 0.125) {
  return {{"causal", causal}, {"scale", scale}, {"seq_dim", int64_t{2}}};
}

UseCase low(const UseCase& use) { return use.in_low(DType::bf16); }

TEST(CudaTensorAttention, QueriesThatSeeNoKeyGiveZeros) {
  const Operand q = real({2, 1, 70, 64});
  const Operand k = real({2, 1, 40, 64});
  const Operand nothing = between({2, 1, 1, 40}, 0, 0);
  const Operand mask{nothing.values, DType::b8};
  const UseCase forward = low({"attention", {q, k, k, mask}, attrs_of(no)});
  const auto found = run_on_cuda(forward, forward.inputs());
  EXPECT_EQ(found[0].numbers(), std::vector<double>(2 * 70 * 64, 0.0));
  EXPECT_EQ(found[1].numbers(), std::vector<double>(2 * 70, -kInfinity));
  const UseCase backward = low({"attention_gradient", {q, q, k, k, q, real({2, 1, 70}), mask}, attrs_of(no)});
  std::vector<HostTensor> inputs = backward.inputs();
  inputs[5] = found[1];
  for (const HostTensor& gradient : run_on_cuda(backward, inputs)) {
    EXPECT_EQ(gradient.numbers(), std::vector<double>(gradient.numbers().size(), 0.0));
  }
}

TEST(CudaTensorAttention, ThereMayBeNoKeysOrNoQueries) {
  for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{70, 0}, {0, 70}}) {
    const Operand q = real({1, 2, queries, 64});
    const Operand k = real({1, 2, keys, 64});
    const UseCase forward = low({"attention", {q, k, k}, attrs_of(yes)});
    EXPECT_EQ(run_on_cuda(forward, forward.inputs()), run_op(forward.def(), forward.attrs, forward.inputs()));
    const UseCase backward = low({"attention_gradient", {q, q, k, k, q, real({1, 2, queries})}, attrs_of(yes)});
    EXPECT_EQ(run_on_cuda(backward, backward.inputs()), run_op(backward.def(), backward.attrs, backward.inputs()));
  }
}

// Of a sequence alone and of the same one in the middle of a batch.
TEST(CudaTensorAttention, TheBatchDoesNotChangeBits) {
  constexpr size_t kNumbers = 2 * 90 * 64;
  const auto use_of = [](int64_t batch, bool backward) {
    const Operand x = real({batch, 2, 90, 64});
    if (!backward) return low({"attention", {x, x, x}, attrs_of(yes)});
    return low({"attention_gradient", {x, x, x, x, x, between({batch, 2, 90}, 3, 4)}, attrs_of(yes)});
  };
  for (const bool backward : {false, true}) {
    const UseCase whole = use_of(3, backward);
    const UseCase one = use_of(1, backward);
    const std::vector<HostTensor> given = whole.inputs();
    std::vector<HostTensor> middle = one.inputs();
    const auto part = [](const HostTensor& x) {
      const std::vector<double> all = x.numbers();
      const auto third = static_cast<std::ptrdiff_t>(all.size() / 3);
      return std::vector<double>(all.begin() + third, all.begin() + 2 * third);
    };
    for (size_t i = 0; i < middle.size(); ++i) middle[i].set_numbers(part(given[i]));
    EXPECT_EQ(middle[0].numbers().size(), kNumbers);
    const auto alone = run_on_cuda(one, middle);
    const auto together = run_on_cuda(whole, given);
    for (size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(alone[i].numbers(), part(together[i])) << i;
  }
}

// What is not a number in one query, or in a key that only later queries see, stays in its rows.
TEST(CudaTensorAttention, OtherRowsDoNotChangeBits) {
  constexpr int64_t kRows = 100;
  constexpr int64_t kDims = 64;
  constexpr int64_t kSpoilt = 77;
  const Operand x = real({1, 1, kRows, kDims});
  const UseCase use = low({"attention", {x, x, x}, attrs_of(yes)});
  const std::vector<HostTensor> given = use.inputs();
  const std::vector<double> right = run_on_cuda(use, given)[0].numbers();
  for (size_t input : {0u, 1u}) {
    std::vector<HostTensor> spoilt = given;
    std::vector<double> numbers = given[input].numbers();
    numbers[static_cast<size_t>(kSpoilt * kDims + 5)] = std::nan("");
    spoilt[input].set_numbers(numbers);
    const std::vector<double> found = run_on_cuda(use, spoilt)[0].numbers();
    for (int64_t row = 0; row < kRows; ++row) {
      const bool sees_it = input == 0 ? row == kSpoilt : row >= kSpoilt;
      for (int64_t d = 0; d < kDims; ++d) {
        const auto at = static_cast<size_t>(row * kDims + d);
        EXPECT_TRUE(sees_it ? std::isnan(found[at]) : found[at] == right[at]) << "input " << input << ", row " << row;
      }
    }
  }
}

// Scores of hundreds, where exponentials of all but the largest vanish.
TEST(CudaTensorAttention, LargeScoresKeepTheirOrder) {
  const Operand q = between({1, 1, 40, 64}, 3, 4);
  const Operand k = between({1, 1, 150, 64}, -4, 4);
  const Operand v = between({1, 1, 150, 64}, -1, 1);
  const UseCase use{"attention", {q, k, v}, attrs_of(no, 1.0)};
  const std::vector<HostTensor> given = low(use).inputs();
  std::vector<HostTensor> wide = use.inputs();
  for (size_t i = 0; i < wide.size(); ++i) wide[i].set_numbers(given[i].numbers());
  const auto right = run_op(use.def(), use.attrs, wide);
  const auto found = run_on_cuda(low(use), given);
  EXPECT_EQ(difference(found[0].numbers(), right[0].numbers(), kBfloat16Tolerance), "");
  EXPECT_EQ(difference(found[1].numbers(), right[1].numbers(), 2e-5), "");
}

// Dims that are not a multiple of eight, more than 128 of them, a scale that is not positive: other kernels take these.
TEST(CudaTensorAttention, TakesWhatItCannotElsewhere) {
  for (const auto& [dims, scale] : {std::pair<int64_t, double>{20, 0.125}, {136, 0.125}, {64, -0.125}, {64, 0.0}}) {
    const Operand x = real({1, 1, 40, dims});
    const UseCase use{"attention", {x, x, x}, attrs_of(yes, scale)};
    const std::vector<HostTensor> given = low(use).inputs();
    std::vector<HostTensor> wide = use.inputs();
    for (size_t i = 0; i < wide.size(); ++i) wide[i].set_numbers(given[i].numbers());
    const auto right = run_op(use.def(), use.attrs, wide);
    EXPECT_EQ(difference(run_on_cuda(low(use), given)[0].numbers(), right[0].numbers(), kBfloat16Tolerance), "")
        << dims;
  }
}

}  // namespace
}  // namespace troupe
