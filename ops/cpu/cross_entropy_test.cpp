#include "ops/cpu/cross_entropy.h"

#include <limits>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T>
class CrossEntropy : public ::testing::Test {};
TYPED_TEST_SUITE(CrossEntropy, FloatTypes);

constexpr int64_t kIgnore = -100;

double naive_lse(const double* row, int64_t classes) {
  double top = -1e300, sum = 0.0;
  for (int64_t j = 0; j < classes; ++j) top = std::max(top, row[j]);
  for (int64_t j = 0; j < classes; ++j) sum += std::exp(row[j] - top);
  return top + std::log(sum);
}

std::vector<double> naive_loss(const std::vector<double>& logits, const std::vector<int64_t>& labels, int64_t classes) {
  std::vector<double> loss;
  for (size_t i = 0; i < labels.size(); ++i) {
    const double* row = logits.data() + static_cast<int64_t>(i) * classes;
    loss.push_back(labels[i] == kIgnore ? 0.0 : naive_lse(row, classes) - row[labels[i]]);
  }
  return loss;
}

template <typename T, typename Id>
void check_forward_and_backward() {
  for (const int64_t classes : {1, 5, 64, 1000}) {
    const std::vector<int64_t> labels = {0, classes - 1, kIgnore, classes / 2};
    const std::vector<Id> ids(labels.begin(), labels.end());
    const int64_t rows = 4;
    const auto logits = random_values<T>(rows * classes, 1, -20, 20);
    const auto dloss = random_values<T>(rows, 2);
    std::vector<T> loss(4), lse(4), dlogits(logits.size());
    cross_entropy_forward(loss.data(), lse.data(), logits.data(), ids.data(), rows, classes, kIgnore);
    expect_near(loss, naive_loss(widened(logits), labels, classes), sizeof(T) == 4 ? 1e-6 : 1e-13);
    cross_entropy_backward(dlogits.data(), dloss.data(), logits.data(), lse.data(), ids.data(), rows, classes, kIgnore);
    std::vector<double> expected;
    for (int64_t i = 0; i < rows; ++i) {
      const auto wide = widened(logits);
      const double* row = wide.data() + i * classes;
      for (int64_t j = 0; j < classes; ++j) {
        const double p = std::exp(row[j] - naive_lse(row, classes)) - (j == labels[static_cast<size_t>(i)] ? 1.0 : 0.0);
        expected.push_back(
            labels[static_cast<size_t>(i)] == kIgnore ? 0.0 : p * static_cast<double>(dloss[static_cast<size_t>(i)]));
      }
    }
    expect_near(dlogits, expected, sizeof(T) == 4 ? 4e-6 : 1e-12);
    EXPECT_EQ(count_labels(ids.data(), rows, kIgnore), 3);
  }
}

TYPED_TEST(CrossEntropy, MatchesTheDefinition) {
  check_forward_and_backward<TypeParam, int32_t>();
  check_forward_and_backward<TypeParam, int64_t>();
}

TEST(CrossEntropyDouble, BackwardMatchesFiniteDifferences) {
  const std::vector<int64_t> labels = {3, kIgnore, 0};
  const auto logits = random_values<double>(3 * 7, 1);
  const auto dloss = random_values<double>(3, 2);
  std::vector<double> loss(3), lse(3), dlogits(21);
  cross_entropy_forward(loss.data(), lse.data(), logits.data(), labels.data(), 3, 7, kIgnore);
  cross_entropy_backward(dlogits.data(), dloss.data(), logits.data(), lse.data(), labels.data(), 3, 7, kIgnore);
  const auto total = [&](const std::vector<double>& at) { return weighted(naive_loss(at, labels, 7), dloss); };
  expect_near(dlogits, numeric_gradient(logits, total), 1e-8);
}

TYPED_TEST(CrossEntropy, LimitsAndBadLabels) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  const std::vector<T> logits = {-inf, 0, 0, -inf, -inf, 5};
  const std::vector<int32_t> labels = {1, 3};
  std::vector<T> loss(2), lse(2);
  cross_entropy_forward(loss.data(), lse.data(), logits.data(), labels.data(), 2, 3, kIgnore);
  EXPECT_NEAR(static_cast<double>(loss[0]), std::log(2.0), 1e-6);
  EXPECT_TRUE(std::isnan(loss[1]));
  EXPECT_EQ(lse[1], T(5));
  cross_entropy_forward<T, int32_t>(nullptr, nullptr, nullptr, nullptr, 0, 3, kIgnore);
}

TYPED_TEST(CrossEntropy, ASplitVocabularyGivesTheWhole) {
  using T = TypeParam;
  const int64_t rows = 5, classes = 23;
  const std::vector<int64_t> labels = {0, 9, 10, 22, kIgnore};
  const auto logits = random_values<T>(rows * classes, 1, -5, 5);
  const auto dloss = random_values<T>(rows, 2);
  std::vector<T> loss(5), lse(5), whole(logits.size());
  cross_entropy_forward(loss.data(), lse.data(), logits.data(), labels.data(), rows, classes, kIgnore);
  cross_entropy_backward(whole.data(), dloss.data(), logits.data(), lse.data(), labels.data(), rows, classes, kIgnore);
  std::vector<T> maximum(5, -std::numeric_limits<T>::infinity()), sums(5), picked(5);
  std::vector<std::vector<T>> shards;
  const int64_t begins[] = {0, 10, 23, 23};  // uneven, and one shard without classes
  for (int s = 0; s < 3; ++s) {
    const int64_t size = begins[s + 1] - begins[s];
    std::vector<T> shard, top(5);
    for (int64_t i = 0; i < rows; ++i) {
      shard.insert(shard.end(), logits.begin() + i * classes + begins[s], logits.begin() + i * classes + begins[s + 1]);
    }
    row_max(top.data(), shard.data(), rows, size);
    for (size_t i = 0; i < 5; ++i) maximum[i] = std::max(maximum[i], top[i]);
    shards.push_back(shard);
  }
  for (int s = 0; s < 3; ++s) {
    const int64_t size = begins[s + 1] - begins[s];
    std::vector<T> part(5), pick(5), dshard(shards[s].size());
    row_sum_exp(part.data(), shards[s].data(), maximum.data(), rows, size);
    pick_label(pick.data(), shards[s].data(), labels.data(), rows, size, begins[s], kIgnore);
    cross_entropy_backward_shard(dshard.data(), dloss.data(), shards[s].data(), lse.data(), labels.data(), rows, size,
                                 begins[s], kIgnore);
    for (size_t i = 0; i < 5; ++i) {
      sums[i] += part[i];
      picked[i] += pick[i];
      for (int64_t j = 0; j < size; ++j) {
        EXPECT_EQ(dshard[i * static_cast<size_t>(size) + static_cast<size_t>(j)],
                  whole[i * static_cast<size_t>(classes) + static_cast<size_t>(begins[s] + j)]);
      }
    }
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(static_cast<double>(maximum[i] + std::log(sums[i]) - picked[i]), static_cast<double>(loss[i]), 4e-6);
  }
  EXPECT_EQ(picked[4], T(0));
}

}  // namespace
}  // namespace troupe::cpu
