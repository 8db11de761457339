// A small GPT through the whole walk.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/decompose.h"
#include "planner/test_models.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int kSteps = 4;
constexpr int64_t kBatch = 12;

GptShape small(int64_t rows) { return {.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = rows}; }

Batches batches() { return {{"x", random_ids("x", {kBatch, 6}, 13)}, {"y", random_ids("y", {kBatch, 6}, 13)}}; }

void expect_close(const Trained& a, const Trained& b, double tolerance) {
  ASSERT_EQ(a.losses.size(), b.losses.size());
  for (size_t step = 0; step < a.losses.size(); ++step) {
    EXPECT_NEAR(a.losses[step], b.losses[step], tolerance * b.losses[step]) << step;
  }
  for (const auto& [name, value] : a.variables) {
    const std::vector<double> x = value.numbers();
    const std::vector<double> y = b.variables.at(name).numbers();
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 2e-3) << name << " " << i;
  }
}

TEST(Gpt, EveryMeshTrainsLikeTheOpsOneByOne) {
  const Trained one = interpret_training(gpt_model(small(kBatch)).graph, batches(), kSteps);
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (const auto& [dp, tp, shards] : {std::tuple(1, 1, 1), {4, 1, 4}, {1, 4, 1}, {2, 2, 4}, {1, 3, 2}, {3, 1, 4}}) {
    SCOPED_TRACE(testing::Message() << "dp=" << dp << " tp=" << tp << " shards=" << shards);
    ModelBuilder model = gpt_model(small(kBatch / shards * dp));
    if (tp == 4 || tp == 2) split_blocks(model, "tp");
    expect_close(train(model.graph, choices_on({{"dp", dp}, {"tp", tp}}, shards), batches(), kSteps, {.executors = 2}),
                 one, 1e-5);
  }
}

TEST(Gpt, AVocabularySplitHeadTrainsLikeOneDeviceWithoutGatheringLogits) {
  GptShape shape = small(kBatch);
  shape.vocab = 8191;
  const Batches data = {{"x", random_ids("x", {kBatch, 6}, shape.vocab)},
                        {"y", random_ids("y", {kBatch, 6}, shape.vocab)}};
  const Trained one = interpret_training(gpt_model(shape).graph, data, kSteps);
  for (const auto& [dp, tp, shards] : {std::tuple(1, 2, 1), {1, 4, 2}, {2, 2, 4}, {1, 3, 1}}) {
    SCOPED_TRACE(testing::Message() << "dp=" << dp << " tp=" << tp << " shards=" << shards);
    shape.rows = kBatch / shards * dp;
    ModelBuilder model = gpt_model(shape);
    model.pin("head.weight", "tp", S(0));
    const Compiled compiled = compile(model.graph, choices_on({{"dp", dp}, {"tp", tp}}, shards), Profile());
    const std::string& boxed = compiled.stages.at("box");
    EXPECT_NE(
        boxed.find("head.linear: f32[" + std::to_string(shape.rows) + ",6,8191] " + (dp == 1 ? "B,S(2)" : "S(0),S(2)")),
        std::string::npos);
    EXPECT_EQ(boxed.find("(head.linear)\n", boxed.find("all_gather")), std::string::npos) << "logits are gathered";
    EXPECT_NE(boxed.find("P(max)"), std::string::npos);
    expect_close(run_plan(model.graph, compiled.plan, data, kSteps, {.executors = 2}), one, 1e-5);
  }
}

}  // namespace
}  // namespace troupe
