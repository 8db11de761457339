#include "ops/cpu/margin.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

struct Result {
  std::vector<double> logits, slope;
};

Result run(const std::vector<double>& cosines, const std::vector<int64_t>& labels, const Margin& margin,
           int64_t first = 0) {
  const auto rows = static_cast<int64_t>(labels.size());
  Result result{std::vector<double>(cosines.size()), std::vector<double>(labels.size())};
  margin_forward(result.logits.data(), result.slope.data(), cosines.data(), labels.data(), rows,
                 static_cast<int64_t>(cosines.size()) / rows, first, -100, margin);
  return result;
}

const std::vector<double> kCosines = {0.1, 0.8, -0.3, 0.5, -0.2, 0.9};

TEST(Margin, AddsToTheAngleOfTheLabelAlone) {
  const Result found = run(kCosines, {1, -100}, {.scale = 10, .m2 = 0.5});
  std::vector<double> right = {1, 10 * std::cos(std::acos(0.8) + 0.5), -3, 5, -2, 9};
  expect_near(found.logits, right);
  expect_near(found.slope, std::vector<double>{std::sin(std::acos(0.8) + 0.5) / 0.6, 0});
}

TEST(Margin, TakesFromTheCosineOfTheLabelAlone) {
  const Result found = run(kCosines, {1, 2}, {.scale = 10, .m3 = 0.35});
  expect_near(found.logits, std::vector<double>{1, 4.5, -3, 5, -2, 5.5});
  expect_near(found.slope, std::vector<double>{1, 1});
}

TEST(Margin, AShardKnowsOnlyItsOwnLabels) {
  const Margin margin{.scale = 4, .m1 = 0.9, .m2 = 0.3, .m3 = 0.1};
  const Result whole = run(kCosines, {1, 2}, margin);
  const Result part = run({0.8, -0.3, -0.2, 0.9}, {1, 2}, margin, 1);
  expect_near(part.logits, std::vector<double>{whole.logits[1], whole.logits[2], whole.logits[4], whole.logits[5]}, 0);
  expect_near(run({0.1, 0.5}, {1, 2}, margin).slope, std::vector<double>{0, 0});
  expect_near(part.slope, whole.slope, 0);
}

TEST(Margin, IsFiniteWhereACosineIsOne) {
  const Result found = run({1.0, 1.0 + 1e-7, -1.0}, {0, 0, 0}, {.scale = 64, .m2 = 0.5});
  for (int64_t i = 0; i < 2; ++i) EXPECT_NEAR(found.logits[static_cast<size_t>(i)], 64 * std::cos(0.5), 0.1);
  EXPECT_NEAR(found.logits[2], 64 * std::cos(std::acos(-1.0) + 0.5), 0.1);
  expect_near(found.slope, std::vector<double>{0, 0, 0});
}

}  // namespace
}  // namespace troupe::cpu
