// The bytes that devices receive from one another in a step: as many as the plan promises.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int64_t kBatch = 24;
const std::vector<std::string> kModules = {"tok", "pos", "blocks.0", "blocks.1", "ln", "head"};

struct Case {
  std::vector<Axis> axes;
  int shards = 12;
  int pieces = 1;
  int zero_stage = 0;
  bool split_heads = false;
  Schedule schedule = Schedule::one_f_one_b;
};

void expect_as_promised(const Case& c) {
  Choices choices = choices_on(c.axes, c.shards, c.pieces);
  SCOPED_TRACE(testing::Message() << choices.mesh.str() << ", " << c.shards << " shards of " << c.pieces << ", zero "
                                  << c.zero_stage);
  if (choices.mesh.find_axis("pp") >= 0) cut_pipeline(choices, kModules, c.schedule, 1);
  const int64_t rows = kBatch / c.shards / c.pieces * choices.data_parallel_size();
  ModelBuilder model = gpt_model({.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = rows});
  if (c.split_heads) split_blocks(model, "tp");
  const std::string axis = choices.mesh.find_axis("fsdp") >= 0 ? "fsdp" : "dp";
  if (c.zero_stage > 0) model.zero(axis, choices, c.zero_stage == 3);
  const Compiled compiled = compile(model.graph, choices, Profile());
  const Batches batches = {{"x", random_ids("x", {kBatch, 6}, 13)}, {"y", random_ids("y", {kBatch, 6}, 13)}};
  const Trained run = run_plan(model.graph, compiled.plan, batches, 1, {.executors = 2, .count_traffic = true});
  int64_t promised = 0;
  for (const PlanTraffic& row : compiled.plan.promise.traffic) promised += row.bytes;
  EXPECT_EQ(run.received_bytes, promised) << compiled.summary.text;
  EXPECT_GT(promised, 0);
}

TEST(Traffic, OfDataAxesIsAsPromised) {
  for (int dp : {2, 3, 12}) {
    for (int zero : {0, 2, 3}) expect_as_promised({.axes = {{"dp", dp}}, .zero_stage = zero});
  }
  expect_as_promised({.axes = {{"dp", 2}}, .shards = 6, .pieces = 2, .zero_stage = 3});
  expect_as_promised({.axes = {{"dp", 2}, {"fsdp", 3}}, .zero_stage = 3});
}

TEST(Traffic, OfSplitModelsIsAsPromised) {
  expect_as_promised({.axes = {{"tp", 2}}, .split_heads = true});
  expect_as_promised({.axes = {{"tp", 3}}, .split_heads = true});
  expect_as_promised({.axes = {{"dp", 2}, {"tp", 4}}, .zero_stage = 3, .split_heads = true});
}

TEST(Traffic, OfPipelinesIsAsPromised) {
  for (Schedule schedule : {Schedule::gpipe, Schedule::one_f_one_b, Schedule::zero_bubble}) {
    expect_as_promised({.axes = {{"pp", 3}}, .schedule = schedule});
    expect_as_promised({.axes = {{"dp", 2}, {"pp", 2}}, .zero_stage = 3, .schedule = schedule});
  }
  expect_as_promised({.axes = {{"dp", 2}, {"pp", 2}, {"tp", 2}}, .zero_stage = 2, .split_heads = true});
}

TEST(Traffic, OfShardsSharedOutUnevenlyIsAsPromised) {
  for (int dp : {5, 7}) {
    for (int zero : {0, 2, 3}) expect_as_promised({.axes = {{"dp", dp}}, .zero_stage = zero});
  }
  expect_as_promised({.axes = {{"dp", 5}, {"pp", 2}}, .zero_stage = 2});
}

}  // namespace
}  // namespace troupe
