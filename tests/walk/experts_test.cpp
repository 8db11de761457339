// A layer of experts through the whole walk, split in several ways.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int kSteps = 4;
constexpr int64_t kBatch = 8;

ExpertsShape small(int64_t rows) { return {.batch = rows, .seq = 6, .dim = 8, .experts = 6, .capacity = 3}; }

Trained train_on(const std::vector<Axis>& axes, bool dropless) {
  Choices choices = choices_on(axes, 4);
  ExpertsShape shape = small(kBatch / 4 * choices.data_parallel_size());
  if (dropless) shape.capacity = shape.seq;
  shape.dropless = dropless;
  ModelBuilder model = experts_model(shape);
  split_experts(model, "ep");
  return train(model.graph, choices, {{"x", random_numbers("x", {kBatch, 6, 8})}}, kSteps, {.executors = 2});
}

// ep=4 has experts in parts of 2, 2, 1 and 1, and more devices than a piece has rows.
TEST(Experts, TrainTheSameOnAnyDevicesWithAndWithoutDropping) {
  for (const bool dropless : {false, true}) {
    const Trained one = train_on({{"dp", 1}, {"ep", 1}}, dropless);
    EXPECT_LT(one.losses.back(), one.losses.front());
    for (const auto& [dp, ep] : {std::pair(2, 1), {1, 2}, {1, 3}, {1, 4}, {2, 2}, {4, 3}}) {
      const Trained split = train_on({{"dp", dp}, {"ep", ep}}, dropless);
      for (int step = 0; step < kSteps; ++step) {
        const float right = one.losses[static_cast<size_t>(step)];
        EXPECT_NEAR(split.losses[static_cast<size_t>(step)], right, ep == 1 ? 0 : 1e-5 * right)
            << "dp=" << dp << " ep=" << ep << " step " << step;
      }
      const Trained same_experts = train_on({{"dp", 1}, {"ep", ep}}, dropless);
      EXPECT_EQ(split.losses, same_experts.losses) << "dp=" << dp << " ep=" << ep;
    }
  }
}

TEST(Experts, DroppingChangesWhatIsLearnt) {
  EXPECT_NE(train_on({{"dp", 1}, {"ep", 1}}, false).losses, train_on({{"dp", 1}, {"ep", 1}}, true).losses);
}

}  // namespace
}  // namespace troupe
