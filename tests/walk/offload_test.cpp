// Offload: what waits for the backward pass waits in host memory, and changes no number.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int kBlocks = 4;
constexpr int64_t kBatch = 8;
const std::vector<std::string> kAll = {"blocks.0", "blocks.1", "blocks.2", "blocks.3"};

struct Case {
  std::vector<Axis> axes;
  std::vector<std::string> offload = {};
  std::vector<std::string> recompute = {};
  bool zero = false;
  bool split = false;
  Schedule schedule = Schedule::one_f_one_b;
  bool copies_sources = false;
};

struct Made {
  Graph graph;
  Choices choices;
};

Made made(const Case& c) {
  Choices choices = choices_on(c.axes, 4);
  if (choices.mesh.find_axis("pp") >= 0) {
    cut_pipeline(choices, {"tok", "pos", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "ln", "head"}, c.schedule);
    choices.pipeline.send_slots = 1;
  }
  choices.offload = c.offload;
  choices.copies_sources = c.copies_sources;
  choices.recompute = c.recompute;
  ModelBuilder model = gpt_model({.vocab = 13,
                                  .layers = kBlocks,
                                  .dim = 16,
                                  .heads = 4,
                                  .seq = 8,
                                  .rows = kBatch / 4 * choices.data_parallel_size()});
  if (c.split) split_blocks(model, "tp");
  if (c.zero) model.zero("dp", choices, true);
  return {std::move(model.graph), std::move(choices)};
}

Batches batches() { return {{"x", random_ids("x", {kBatch, 8}, 13)}, {"y", random_ids("y", {kBatch, 8}, 13)}}; }

Trained run(const Case& c, const HowToRun& how = {.executors = 2}) {
  const Made m = made(c);
  return train(m.graph, m.choices, batches(), 3, how);
}

void expect_same_bits(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  for (const auto& [name, value] : a.variables) EXPECT_TRUE(value == b.variables.at(name)) << name;
}

TEST(Offload, ChangesNoBit) {
  const Trained kept = run({{{"dp", 1}}});
  expect_same_bits(run({{{"dp", 1}}, kAll}), kept);
  expect_same_bits(run({{{"dp", 1}}, {"blocks.1.mlp"}}), kept);
  expect_same_bits(run({{{"dp", 1}}, kAll, {"blocks.0", "blocks.2.mlp"}}), kept);
  expect_same_bits(run({{{"dp", 2}}, kAll, {}, true}), kept);
  for (Schedule schedule : {Schedule::gpipe, Schedule::one_f_one_b, Schedule::zero_bubble}) {
    expect_same_bits(run({{{"pp", 2}}, kAll, {}, false, false, schedule}), kept);
  }
  expect_same_bits(run({{{"dp", 2}, {"pp", 2}}, kAll, {"blocks.1", "blocks.2"}, true}), kept);
  expect_same_bits(run({{{"dp", 2}, {"tp", 2}}, kAll, {}, false, true}),
                   run({{{"dp", 2}, {"tp", 2}}, {}, {}, false, true}));
}

TEST(Offload, ChangesNoBitUnderAnyTiming) {
  const Trained kept = run({{{"dp", 1}}});
  const std::vector<Case> cases = {{{{"dp", 1}}, kAll},
                                   {{{"dp", 2}}, kAll, {}, true},
                                   {{{"pp", 2}}, kAll},
                                   {{{"pp", 2}}, kAll, {"blocks.1", "blocks.2"}},
                                   {{{"pp", 2}}, kAll, {}, false, false, Schedule::gpipe},
                                   {{{"pp", 2}}, kAll, {}, false, false, Schedule::zero_bubble}};
  for (const Case& c : cases) {
    for (uint64_t seed = 0; seed < 6; ++seed) {
      expect_same_bits(run(c, {.executors = 8, .scrambled = seed}), kept);
    }
    // One step after another without a pause.
    const Trained unbroken = run(c, {.as_predicted = true});
    EXPECT_EQ(unbroken.losses.back(), kept.losses.back());
    for (const auto& [name, value] : kept.variables) EXPECT_TRUE(value == unbroken.variables.at(name)) << name;
  }
}

TEST(CopySources, ChangesNoBitUnderAnyTiming) {
  const Trained kept = run({{{"dp", 1}}});
  for (const Case& c : {Case{.axes = {{"dp", 2}}, .zero = true, .copies_sources = true},
                        Case{.axes = {{"dp", 2}, {"pp", 2}}, .offload = kAll, .copies_sources = true}}) {
    for (uint64_t seed = 0; seed < 4; ++seed) expect_same_bits(run(c, {.executors = 8, .scrambled = seed}), kept);
  }
}

int64_t workspace(const Plan& plan, size_t device) {
  return plan.devices[device].arena_bytes[static_cast<int>(ArenaKind::workspace)];
}

TEST(Offload, DevicesHoldLessAndHostsTheRestAsPlannedAndAsCounted) {
  for (Case c : {Case{{{"dp", 1}}, kAll}, Case{{{"dp", 2}}, kAll}, Case{{{"dp", 2}, {"tp", 2}}, kAll, {}, false, true},
                 Case{{{"pp", 2}}, {"blocks.0"}}}) {
    const Made with = made(c);
    c.offload = {};
    const Made without = made(c);
    const size_t devices = without.choices.devices.size();
    SCOPED_TRACE(without.choices.mesh.str() + " of " + std::to_string(devices));
    const Plan kept = compile(without.graph, without.choices, Profile()).plan;
    const Plan moved = compile(with.graph, with.choices, Profile()).plan;
    const HowToRun how{.executors = 2, .count_live_bytes = true};
    const Trained counted = run_plan(without.graph, kept, batches(), 2, how);
    const Trained less = run_plan(with.graph, moved, batches(), 2, how);
    ASSERT_EQ(moved.devices.size(), 2 * devices);
    EXPECT_EQ(less.peak_bytes, moved.promise.peak);
    for (size_t d = 0; d < devices; ++d) {
      EXPECT_EQ(moved.devices[devices + d].name, "host:" + std::to_string(d));
      if (without.choices.pipeline.is_cut() && d == 1) {  // nothing of its stage is named
        EXPECT_EQ(workspace(moved, d), workspace(kept, d));
        continue;
      }
      EXPECT_LT(workspace(moved, d), workspace(kept, d));
      EXPECT_LT(less.peak_bytes[d], counted.peak_bytes[d]);
      EXPECT_GT(less.peak_bytes[devices + d], 0);
    }
  }
}

TEST(Offload, AStageOfAPipelineHoldsLessHoweverManyPiecesAreUnderWay) {
  for (Schedule schedule : {Schedule::gpipe, Schedule::one_f_one_b, Schedule::zero_bubble}) {
    SCOPED_TRACE(name_of(schedule));
    const Made with = made({{{"pp", 2}}, kAll, {}, false, false, schedule});
    const Made without = made({{{"pp", 2}}, {}, {}, false, false, schedule});
    const Plan kept = compile(without.graph, without.choices, Profile()).plan;
    const Plan moved = compile(with.graph, with.choices, Profile()).plan;
    const HowToRun how{.executors = 2, .count_live_bytes = true};
    const Trained counted = run_plan(without.graph, kept, batches(), 3, how);
    const Trained less = run_plan(with.graph, moved, batches(), 3, how);
    expect_same_bits(less, counted);
    EXPECT_EQ(less.peak_bytes, moved.promise.peak);
    // The last stage of a 1F1B pipeline has one piece at a time; it holds less all the same.
    for (size_t d = 0; d < 2; ++d) {
      EXPECT_LT(workspace(moved, d), workspace(kept, d)) << d;
      EXPECT_LT(less.peak_bytes[d], counted.peak_bytes[d]) << d;
      EXPECT_LE(less.peak_bytes[d], workspace(moved, d)) << d;
    }
  }
}

// By stream: what its tasks take in a step, as predicted.
std::map<std::string, double> busy(const Plan& plan) {
  std::map<std::string, double> seconds;
  for (const PlanTask& task : plan.tasks) {
    seconds[plan.streams[task.stream.index()].name] += task.predicted_s * task.firings_per_step;
  }
  return seconds;
}

TEST(Offload, CopiesRunBesideWhatIsComputedAndNeedLittleMemory) {
  const Made with = made({{{"dp", 1}}, kAll});
  const Made without = made({{{"dp", 1}}});
  Profile fast;
  fast.cores = 0;  // streams do not wait for one another's cores
  Profile slow = fast;
  slow.matmul_flops_per_s /= 100;
  for (const Profile& profile : {slow, fast}) {
    const Plan kept = compile(without.graph, without.choices, profile).plan;
    const Plan moved = compile(with.graph, with.choices, profile).plan;
    const std::map<std::string, double> seconds = busy(moved);
    EXPECT_GT(seconds.at("cpu:0 copy"), 0);
    EXPECT_GT(seconds.at("host:0 copy"), 0);
    EXPECT_LT(moved.promise.step_s, seconds.at("cpu:0 compute") + seconds.at("cpu:0 copy"));
    // Copies that take a hundredth of the computation beside them cost nothing.
    if (profile == slow) {
      EXPECT_NEAR(moved.promise.step_s, kept.promise.step_s, 1e-9);
    }
    // What is on its way, each way: an eighth of what the host keeps, or two tensors.
    const int64_t on_host = workspace(moved, 1);
    int64_t largest = 0;
    for (const PlanRegister& reg : moved.registers) {
      if (reg.device == DeviceId(1)) largest = std::max(largest, reg.bytes);
    }
    const int64_t on_its_way = 2 * std::max(on_host / 8, 2 * largest);
    EXPECT_LE(workspace(moved, 0), workspace(kept, 0) - on_host + on_its_way);
  }
}

TEST(Offload, MovesWhatThePlanPromises) {
  for (const Case& c : {Case{{{"dp", 2}}, kAll, {}, true}, Case{{{"dp", 2}, {"tp", 2}}, kAll, {}, false, true},
                        Case{{{"pp", 2}}, kAll}}) {
    const Made m = made(c);
    SCOPED_TRACE(m.choices.mesh.str());
    const Compiled compiled = compile(m.graph, m.choices, Profile());
    const Trained run = run_plan(m.graph, compiled.plan, batches(), 1, {.executors = 2, .count_traffic = true});
    int64_t promised = 0;
    int64_t with_hosts = 0;
    for (const PlanTraffic& row : compiled.plan.promise.traffic) {
      promised += row.bytes;
      if (row.axis == "host") with_hosts += row.bytes;
    }
    EXPECT_EQ(run.received_bytes, promised) << compiled.summary.text;
    EXPECT_GT(with_hosts, 0);
    EXPECT_EQ(compiled.summary.link_bytes[static_cast<size_t>(LinkKind::host_memory)], with_hosts);
    EXPECT_NE(compiled.summary.text.find("host memory "), std::string::npos) << compiled.summary.text;
  }
}

TEST(Offload, WhatCannotBeMovedIsRefused) {
  EXPECT_THROW(run({{{"dp", 1}}, {"blocks.9"}}), PlanError);
  Made m = made({{{"dp", 2}}, kAll});
  m.choices.host_memory_bytes = 1000;
  try {
    compile(m.graph, m.choices, Profile());
    FAIL() << "compiled";
  } catch (const PlanError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find(" on host:0 at its peak"), std::string::npos) << text;
    EXPECT_NE(text.find("but offload has memory=1000 B per host; the least that would do is memory="),
              std::string::npos)
        << text;
  }
}

}  // namespace
}  // namespace troupe
