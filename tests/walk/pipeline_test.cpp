// A model cut into stages: the same numbers under every schedule, alone and with other parallelism.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/plan/validate.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int kSteps = 3;
constexpr int64_t kBatch = 16;
const std::vector<std::string> kModules = {"tok", "pos", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "ln", "head"};

Batches batches() { return {{"x", random_ids("x", {kBatch, 6}, 13)}, {"y", random_ids("y", {kBatch, 6}, 13)}}; }

struct Case {
  std::vector<Axis> axes;
  Schedule schedule = Schedule::one_f_one_b;
  int chunks_per_stage = 1;
  bool zero = false;
  int shards = 8;
  int pieces = 1;
  std::vector<std::vector<int>> devices_of_stage = {};  // empty: each has its own
};

std::string text_of(const Case& c) {
  return Mesh(c.axes).str() + " " + name_of(c.schedule) + " x" + std::to_string(c.chunks_per_stage);
}

Trained train_case(const Case& c) {
  SCOPED_TRACE(text_of(c));
  Choices choices = choices_on(c.axes, c.shards, c.pieces);
  const bool tensor_parallel = choices.mesh.find_axis("tp") >= 0;
  if (choices.mesh.find_axis("pp") >= 0) cut_pipeline(choices, kModules, c.schedule, c.chunks_per_stage);
  if (!c.devices_of_stage.empty()) put_stages_on(choices, c.devices_of_stage);
  const int64_t rows = kBatch / c.shards / c.pieces * choices.data_parallel_size();
  ModelBuilder model = gpt_model({.vocab = 13, .layers = 4, .dim = 16, .heads = 4, .seq = 6, .rows = rows});
  if (tensor_parallel) split_blocks(model, "tp");
  if (c.zero) model.zero("dp", choices, true);
  const Compiled compiled = compile(model.graph, choices, Profile());
  EXPECT_EQ(flaw_in(compiled.plan), std::nullopt);
  Trained run = run_plan(model.graph, compiled.plan, batches(), kSteps, {.executors = 2, .count_live_bytes = true});
  for (size_t d = 0; d < run.peak_bytes.size(); ++d) EXPECT_LE(run.peak_bytes[d], compiled.plan.promise.peak[d]) << d;
  return run;
}

void expect_same_bits(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  for (const auto& [name, value] : a.variables) EXPECT_TRUE(value == b.variables.at(name)) << name;
}

constexpr Schedule kSchedules[] = {Schedule::gpipe, Schedule::one_f_one_b, Schedule::zero_bubble};

TEST(Pipelines, EveryScheduleKeepsTheBitsOfOneDevice) {
  const Trained one = train_case({.axes = {{"dp", 1}}});
  for (int stages : {2, 3, 4, 8}) {
    for (Schedule schedule : kSchedules) {
      const Case c{.axes = {{"pp", stages}}, .schedule = schedule};
      SCOPED_TRACE(text_of(c));
      expect_same_bits(train_case(c), one);
    }
  }
  for (const auto& [stages, chunks] : {std::pair(2, 2), {4, 2}, {2, 4}}) {
    const Case c{.axes = {{"pp", stages}}, .schedule = Schedule::interleaved, .chunks_per_stage = chunks};
    SCOPED_TRACE(text_of(c));
    expect_same_bits(train_case(c), one);
  }
}

TEST(Pipelines, WithDataParallelismAndZeroTheyKeepTheBits) {
  const Trained one = train_case({.axes = {{"dp", 1}}});
  for (const std::vector<Axis>& axes : {std::vector<Axis>{{"dp", 2}, {"pp", 2}}, {{"pp", 2}, {"dp", 3}}}) {
    for (bool zero : {false, true}) {
      for (Schedule schedule : kSchedules) {
        const Case c{.axes = axes, .schedule = schedule, .zero = zero};
        SCOPED_TRACE(text_of(c));
        expect_same_bits(train_case(c), one);
      }
    }
  }
  expect_same_bits(train_case({.axes = {{"dp", 2}, {"pp", 4}}, .zero = true, .shards = 4, .pieces = 2}),
                   train_case({.axes = {{"dp", 1}}, .shards = 4, .pieces = 2}));
}

TEST(Pipelines, WithTensorParallelismTheyChangeNoBit) {
  const Trained whole = train_case({.axes = {{"dp", 2}, {"tp", 2}}});
  for (Schedule schedule : kSchedules) {
    for (bool zero : {false, true}) {
      const Case c{.axes = {{"dp", 2}, {"pp", 2}, {"tp", 2}}, .schedule = schedule, .zero = zero};
      SCOPED_TRACE(text_of(c));
      expect_same_bits(train_case(c), whole);
    }
  }
}

// A weight that the first and the last stage use lies on one of them; the other reads it, and sends its gradient back.
TEST(Pipelines, StagesMayShareAWeight) {
  const auto tied = [&](const std::vector<Axis>& axes) {
    Choices choices = choices_on(axes, 8);
    if (choices.mesh.find_axis("pp") >= 0) {
      cut_pipeline(choices, {"tok", "first", "second", "third"}, Schedule::one_f_one_b);
    }
    ModelBuilder model;
    const int64_t rows = kBatch / 8 * choices.data_parallel_size();
    const ValueId ids = model.graph.source("x", DType::i32, {rows, 6}, true);
    const ValueId labels = model.graph.source("y", DType::i32, {rows, 6}, true);
    const ValueId table = model.parameter("tok.weight", {13, 16});
    ValueId x = model.add("embedding", {ids, table}, {}, "tok");
    for (const char* name : {"first", "second", "third"})
      x = model.add("gelu", {model.linear(x, name, 16, 16)}, {}, name);
    const ValueId logits = model.add("linear", {x, table}, {}, "third.head");
    model.train(model.sum_all(model.add("cross_entropy", {logits, labels}, {}, "loss")), true);
    return train(model.graph, choices, batches(), kSteps, {.executors = 2});
  };
  const Trained one = tied({{"dp", 1}});
  for (const std::vector<Axis>& axes : {std::vector<Axis>{{"pp", 2}}, {{"pp", 4}}, {{"dp", 2}, {"pp", 2}}}) {
    SCOPED_TRACE(Mesh(axes).str());
    expect_same_bits(tied(axes), one);
  }
}

// A device of two stages has streams and memory for each.
TEST(Pipelines, StagesMayShareDevices) {
  const Trained one = train_case({.axes = {{"dp", 1}}});
  const std::vector<std::vector<std::vector<int>>> rings = {
      {{0, 1}, {1, 2}, {2, 0}}, {{0, 1}, {1, 0}, {2, 3}}, {{1, 0}, {0, 2}, {1, 2}}};
  for (const auto& devices_of_stage : rings) {
    for (Schedule schedule : kSchedules) {
      for (bool zero : {false, true}) {
        const Case c{
            .axes = {{"dp", 2}, {"pp", 3}}, .schedule = schedule, .zero = zero, .devices_of_stage = devices_of_stage};
        SCOPED_TRACE(testing::Message() << text_of(c) << " on " << testing::PrintToString(devices_of_stage));
        expect_same_bits(train_case(c), one);
      }
    }
  }
}

// What early chunks make is read again by late ones, as in a U-Net, whose gradients come back past the stages between.
// With the slots that a chain of stages needs, stages would wait for one another.
TEST(Pipelines, LateStagesMayReadWhatEarlyOnesMade) {
  const std::vector<std::string> layers = {"0", "1", "2", "3", "4", "5", "6", "7"};
  const auto skipping = [&](const std::vector<Axis>& axes, Schedule schedule, int chunks_per_stage, int send_slots) {
    Choices choices = choices_on(axes, 8);
    if (choices.mesh.find_axis("pp") >= 0) cut_pipeline(choices, layers, schedule, chunks_per_stage);
    choices.pipeline.send_slots = send_slots;
    ModelBuilder model;
    ValueId x = model.graph.source("x", DType::f32, {kBatch / 8 * choices.data_parallel_size(), 6}, true);
    std::vector<ValueId> made;
    for (const std::string& layer : layers) {
      const size_t mirrored = layers.size() - 1 - made.size();
      if (mirrored < made.size()) x = model.add("add", {x, made[mirrored]}, {}, layer);
      made.push_back(x = model.add("tanh", {model.linear(x, layer, 6, 6)}, {}, layer));
    }
    model.train(model.sum_all(model.add("square", {x}, {}, "loss")));
    return train(model.graph, choices, {{"x", random_numbers("x", {kBatch, 6})}}, kSteps, {.executors = 2});
  };
  const Trained one = skipping({{"dp", 1}}, Schedule::gpipe, 1, 0);
  for (int send_slots : {0, 1, 2}) {
    for (int stages : {4, 8}) {
      for (Schedule schedule : kSchedules) {
        SCOPED_TRACE(testing::Message() << stages << " stages " << name_of(schedule) << ", " << send_slots);
        expect_same_bits(skipping({{"pp", stages}}, schedule, 1, send_slots), one);
      }
    }
    SCOPED_TRACE(testing::Message() << "interleaved, " << send_slots);
    expect_same_bits(skipping({{"pp", 4}, {"dp", 2}}, Schedule::interleaved, 2, send_slots), one);
  }
}

}  // namespace
}  // namespace troupe
