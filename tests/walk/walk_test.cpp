// The whole walk of a small model: graph, plan, actors, numbers.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/plan/validate.h"
#include "tests/walk/mlp.h"

namespace troupe {
namespace {

constexpr int kSteps = 6;

uint32_t bits(float value) {
  uint32_t result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

void expect_close(const Trained& a, const Trained& b, double tolerance) {
  ASSERT_EQ(a.losses.size(), b.losses.size());
  for (size_t step = 0; step < a.losses.size(); ++step) EXPECT_NEAR(a.losses[step], b.losses[step], tolerance) << step;
  for (const auto& [name, value] : a.variables) {
    const std::vector<double> x = value.numbers();
    const std::vector<double> y = b.variables.at(name).numbers();
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << name << " " << i;
  }
}

void expect_same_bits(const Trained& a, const Trained& b) {
  ASSERT_EQ(a.losses.size(), b.losses.size());
  for (size_t step = 0; step < a.losses.size(); ++step) EXPECT_EQ(bits(a.losses[step]), bits(b.losses[step])) << step;
  for (const auto& [name, value] : a.variables) EXPECT_TRUE(value == b.variables.at(name)) << name;
}

TEST(Walk, OneDeviceTrainsLikeTheOpsOneByOne) {
  const MlpShape shape;
  const Trained trained = train_mlp(shape, mlp_choices(1, 1, 1), kSteps, {.executors = 1});
  expect_close(trained, interpret_mlp(shape, kSteps), 1e-5);
  EXPECT_LT(trained.losses.back(), trained.losses.front());
  EXPECT_EQ(trained.variables.at("steps").numbers(), std::vector<double>{kSteps});
}

TEST(Walk, EveryMeshTrainsLikeOneDevice) {
  const MlpShape shape;
  const Trained one = interpret_mlp(shape, kSteps);
  for (const auto& [dp, tp, shards] : {std::tuple(4, 1, 4), {1, 4, 1}, {2, 2, 2}, {2, 2, 8}, {1, 3, 2}, {3, 2, 8}}) {
    SCOPED_TRACE(testing::Message() << "dp=" << dp << " tp=" << tp << " shards=" << shards);
    expect_close(train_mlp(shape, mlp_choices(dp, tp, shards), kSteps, {.executors = 2}), one, 1e-5);
  }
}

TEST(Walk, LossesAndWeightsKeepTheirBitsForAnyNumberOfDataParallelDevices) {
  const MlpShape shape;
  const Trained one = train_mlp(shape, mlp_choices(1, 1, 8), kSteps, {.executors = 1});
  for (int dp : {2, 3, 4, 5, 8}) {
    SCOPED_TRACE(testing::Message() << "dp=" << dp);
    expect_same_bits(train_mlp(shape, mlp_choices(dp, 1, 8), kSteps, {.executors = 2}), one);
  }
}

TEST(Walk, MicroBatchesOfAShardAreAddedInOrderOnAnyMesh) {
  const MlpShape shape;
  const Trained one = train_mlp(shape, mlp_choices(1, 1, 4, 2), kSteps, {.executors = 1});
  expect_close(one, interpret_mlp(shape, kSteps), 1e-5);
  expect_same_bits(train_mlp(shape, mlp_choices(2, 1, 4, 2), kSteps, {.executors = 2}), one);
  expect_same_bits(train_mlp(shape, mlp_choices(3, 1, 4, 2), kSteps, {.executors = 1}), one);
}

TEST(Walk, PlansAreValidAndTheSameFromRunToRun) {
  const MlpShape shape;
  const Graph graph = mlp_graph(shape, 4);
  const Choices choices = mlp_choices(2, 2, 8);
  const Compiled a = compile(graph, choices, Profile());
  const Compiled b = compile(graph, choices, Profile());
  EXPECT_TRUE(a.plan == b.plan);
  EXPECT_EQ(a.stages, b.stages);
  EXPECT_EQ(flaw_in(a.plan), std::nullopt);
}

// The uses of a shared variable are added after the shards, whatever the mesh.
TEST(Walk, TiedWeightsKeepTheirBitsForAnyNumberOfDataParallelDevices) {
  const int64_t batch = 16;
  const auto tied = [&](int dp) {
    ModelBuilder model;
    const ValueId x = model.graph.source("x", DType::f32, {batch / 8 * dp, 12}, true);
    const ValueId w = model.parameter("weight", {12, 12});
    ValueId y = x;
    for (int use = 0; use < 3; ++use) {
      y = model.add("tanh", {model.add("linear", {y, w}, {}, "use" + std::to_string(use))}, {}, "y");
    }
    model.train(model.sum_all(model.add("square", {y}, {}, "loss")), true);
    return train(model.graph, choices_on({{"dp", dp}}, 8), {{"x", random_numbers("x", {batch, 12})}}, kSteps,
                 {.executors = 2});
  };
  const Trained one = tied(1);
  for (int dp : {2, 3, 5, 8}) {
    SCOPED_TRACE(testing::Message() << "dp=" << dp);
    expect_same_bits(tied(dp), one);
  }
}

// The bias's gradient counts rows: no data enters it, and yet every piece adds its own.
TEST(Walk, AGradientWithoutDataIsAddedOverAllPieces) {
  const int64_t batch = 16;
  const auto model_of = [&](int64_t rows, bool with_penalty) {
    ModelBuilder model;
    const ValueId x = model.graph.source("x", DType::f32, {rows, 12}, true);
    ValueId loss = model.sum_all(model.linear(x, "layer", 12, 12));
    if (with_penalty) {
      loss = model.add("add", {loss, model.sum_all(model.add("square", {model.parameters().front()}, {}, "l2"))}, {},
                       "l2");
    }
    model.train(loss);
    return model;
  };
  const Batches batches = {{"x", random_numbers("x", {batch, 12})}};
  const Trained whole = interpret_training(model_of(batch, false).graph, batches, kSteps);
  const Trained penalised = train(model_of(batch / 8, true).graph, choices_on({{"dp", 1}}, 8), batches, kSteps, {});
  for (int dp : {1, 2, 3, 8}) {
    SCOPED_TRACE(testing::Message() << "dp=" << dp);
    const Choices choices = choices_on({{"dp", dp}}, 8);
    expect_close(train(model_of(batch / 8 * dp, false).graph, choices, batches, kSteps, {}), whole, 1e-3);
    expect_same_bits(train(model_of(batch / 8 * dp, true).graph, choices, batches, kSteps, {}), penalised);
  }
}

}  // namespace
}  // namespace troupe
