// What is peculiar to the ops of experts: who is chosen, who gets a place, and what is left out.

#include <gtest/gtest.h>

#include <cmath>

#include "ops/test_use_cases.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

using Numbers = std::vector<double>;

HostTensor tensor(DType dtype, const Shape& shape, const Numbers& numbers) {
  HostTensor result({dtype, shape});
  result.set_numbers(numbers);
  return result;
}

std::vector<HostTensor> run(const char* op, const std::vector<HostTensor>& inputs, const Attrs& attrs = {}) {
  return run_op(*find_op(op), attrs, inputs);
}

TEST(TopK, TakesTheLowerPlaceOfEqualElementsAndNanFirst) {
  const double nan = std::nan("");
  const HostTensor x = tensor(DType::f32, {3, 4}, {1, 3, 3, 2, 5, 5, 5, 5, 0, nan, 7, nan});
  const std::vector<HostTensor> chosen = run("top_k", {x}, {{"k", int64_t{3}}});
  EXPECT_EQ(chosen[1].numbers(), (Numbers{1, 2, 3, 0, 1, 2, 1, 3, 2}));
  EXPECT_EQ(chosen[0].numbers()[0], 3);
  EXPECT_EQ(chosen[0].numbers()[8], 7);
}

// Two rows of four tokens, each with two of three experts.
HostTensor choices() { return tensor(DType::i32, {2, 4, 2}, {0, 1, 0, 2, 1, 0, 0, 1, 2, 0, 2, 0, 2, 0, 2, 1}); }

Attrs sizes(int64_t capacity) { return {{"experts", int64_t{3}}, {"capacity", capacity}}; }

TEST(Experts, FirstChoicesTakePlacesFirstAndCountsHoldTheDropped) {
  const std::vector<HostTensor> placed = run("expert_places", {choices()}, sizes(3));
  EXPECT_EQ(placed[0].numbers(), (Numbers{4, 3, 3, 1, 1, 4}));
  EXPECT_EQ(placed[1].numbers(), (Numbers{0, 1, 1, 0, 0, -1, 2, 2, 0, 0, 1, 1, 2, 2, -1, 0}));
}

TEST(Experts, OverflowWithoutDroppingIsAFaultThatNamesTheFactor) {
  Attrs attrs = sizes(3);
  attrs.set("dropless", int64_t{1});
  attrs.set("capacity_factor", 1.125);
  try {
    run("expert_places", {choices()}, attrs);
    FAIL() << "nothing is thrown";
  } catch (const FaultError& error) {
    EXPECT_STREQ(
        error.what(),
        "expert_places, cpu:0: row 0 of the batch sends 4 tokens to expert 0, but its buffer has 3 places per row and "
        "no token may be dropped; a larger capacity_factor (it is 1.125) is needed, or none");
  }
  attrs.set("capacity", int64_t{4});
  EXPECT_EQ(run("expert_places", {choices()}, attrs)[0].numbers(), (Numbers{4, 3, 3, 1, 1, 4}));
}

TEST(Experts, AChoiceThatIsNoExpertIsAFault) {
  EXPECT_THROW(run("expert_places", {tensor(DType::i32, {1, 1, 1}, {3})}, sizes(1)), FaultError);
}

TEST(Experts, TokensComeBackWeightedAndDroppedChoicesAddNothing) {
  const std::vector<HostTensor> placed = run("expert_places", {choices()}, sizes(3));
  Numbers x, weights;
  for (int i = 0; i < 16; ++i) {
    x.push_back(i + 1);
    weights.push_back(1.0 / (i + 2));
  }
  const HostTensor tokens = tensor(DType::f64, {2, 4, 2}, x);
  const HostTensor buffer = run("dispatch", {tokens, choices(), placed[1]}, sizes(3))[0];
  // Expert 1: of the first row token 2, then 0 and 3; of the second token 3 alone.
  const Numbers found = buffer.numbers();
  EXPECT_EQ(Numbers(found.begin() + 12, found.begin() + 24), (Numbers{5, 6, 1, 2, 7, 8, 15, 16, 0, 0, 0, 0}));
  const HostTensor back = run("combine", {buffer, choices(), placed[1], tensor(DType::f64, {2, 4, 2}, weights)})[0];
  for (size_t token = 0; token < 8; ++token) {
    double kept = 0;
    for (size_t at : {2 * token, 2 * token + 1}) kept += placed[1].numbers()[at] < 0 ? 0 : weights[at];
    EXPECT_DOUBLE_EQ(back.numbers()[2 * token], kept * x[2 * token]) << token;
  }
}

TEST(Experts, LinearLayersReadNoRowThatIsNotThere) {
  const double nan = std::nan("");
  const HostTensor x = tensor(DType::f32, {2, 1, 2, 1}, {3, nan, nan, nan});
  const HostTensor w = tensor(DType::f32, {2, 2, 1}, {10, 20, 30, 40});
  const HostTensor counts = tensor(DType::i32, {2, 1}, {1, 0});
  EXPECT_EQ(run("expert_linear", {x, w, counts})[0].numbers(), (Numbers{30, 60, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(run("expert_linear_weight_gradient", {x, x, counts})[0].numbers(), (Numbers{9, 0}));
}

}  // namespace
}  // namespace troupe
