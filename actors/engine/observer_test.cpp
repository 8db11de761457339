#include "actors/engine/observer.h"

#include <gtest/gtest.h>

#include <limits>

#include "actors/engine/engine.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

// Runs one step on this thread and says what was seen.
Observations observed(const KernelTable& kernels, const Plan& plan, const Observe& what) {
  SimulatedClock clock;
  EngineOptions options;
  options.spin_s = 0;  // the clock stands still
  Engine engine(kernels, options, clock);
  const PlanHandle handle = engine.load(std::make_shared<Plan>(plan));
  engine.observe(handle, what);
  engine.start(handle, 0, 1);
  EXPECT_EQ(engine.executor(0).run(1), Executor::Outcome::sleep);
  EXPECT_FALSE(engine.running());
  return engine.observations(handle);
}

// a -> x -> b -> y -> c -> z, each of 8 bytes.
PlanBuilder chain() {
  PlanBuilder builder;
  const StreamId stream = builder.stream(builder.device("cpu:0"), "compute");
  const TaskId a = builder.task(stream, "a", "mix");
  const TaskId b = builder.task(stream, "b", "mix");
  const TaskId c = builder.task(stream, "c", "mix");
  builder.read(b, builder.output(a, {.name = "x"}));
  builder.read(c, builder.output(b, {.name = "y"}));
  builder.output(c, {.name = "z"});
  return builder;
}

TEST(Observer, SlotsAreLiveFromTheirFirstWriteToTheirLastRead) {
  const Observations seen = observed(sample_kernels(), chain().finish(), {.live_bytes = true});
  EXPECT_EQ(seen.peak_bytes, std::vector<int64_t>{16});  // x and y, then y and z
}

TEST(Observer, BytesThatAnOutputTakesOverCountOnce) {
  PlanBuilder builder = chain();
  builder.share_bytes(RegisterId(0), RegisterId(1));
  builder.share_bytes(RegisterId(0), RegisterId(2));
  const Observations seen = observed(sample_kernels(), builder.finish(), {.live_bytes = true});
  EXPECT_EQ(seen.peak_bytes, std::vector<int64_t>{8});
}

TEST(Observer, ScratchBelongsToTheWorkspaceWhileItsTaskRuns) {
  PlanBuilder builder = chain();
  Plan plan = builder.finish();
  plan.devices[0].arena_bytes[1] = 4096;
  plan.tasks[1].scratch_offset = 1024;
  plan.tasks[1].scratch_bytes = 100;
  const Observations seen = observed(sample_kernels(), plan, {.live_bytes = true});
  EXPECT_EQ(seen.peak_bytes, std::vector<int64_t>{16});
  EXPECT_EQ(seen.peak_workspace, std::vector<int64_t>{116});
}

TEST(Observer, WhatTheDriverFetchesStaysLive) {
  PlanBuilder builder = chain();
  builder.fetched("x", RegisterId(0));
  const Observations seen = observed(sample_kernels(), builder.finish(), {.live_bytes = true});
  EXPECT_EQ(seen.peak_bytes, std::vector<int64_t>{24});
}

void nan_everywhere(const KernelArgs& args, Stream&) {
  for (const TensorView& out : args.outputs) *out.as<float>() = std::numeric_limits<float>::quiet_NaN();
}

TEST(Observer, AValuePassedOnNamesTheInputItCameFrom) {
  KernelTable kernels;
  kernels.add("nan", DeviceKind::cpu, nan_everywhere);
  PlanBuilder builder;
  const DeviceId device = builder.device("cpu:0");
  const TaskId task = builder.task(builder.stream(device, "compute"), "log", "nan");
  const RegisterId bad = builder.constant(device, {.name = "w", .dtype = DType::f32, .arena = ArenaKind::variables});
  builder.read(task, bad);
  const RegisterId out = builder.output(task, {.name = "y", .dtype = DType::f32});
  const Plan plan = builder.finish();
  const std::optional<NonFinite> born = observed(kernels, plan, {.finite = true}).nonfinite;
  ASSERT_TRUE(born);
  EXPECT_TRUE(born->born);  // w is zero
  EXPECT_EQ(born->reg, out);

  SimulatedClock clock;
  EngineOptions options;
  options.spin_s = 0;  // the clock stands still
  Engine engine(kernels, options, clock);
  const PlanHandle handle = engine.load(std::make_shared<Plan>(plan));
  const float inf = std::numeric_limits<float>::infinity();
  std::ranges::copy(std::as_bytes(std::span(&inf, 1)), engine.bytes(handle, bad).begin());
  engine.observe(handle, {.finite = true});
  engine.start(handle, 0, 1);
  engine.executor(0).run(1);
  const std::optional<NonFinite> passed_on = engine.observations(handle).nonfinite;
  ASSERT_TRUE(passed_on);
  EXPECT_FALSE(passed_on->born);
  EXPECT_EQ(passed_on->input, bad);
}

TEST(Observer, ReportsWhereItWasBornBeforeWhereItWasPassedOn) {
  Plan plan;
  plan.tasks.resize(2);
  plan.tasks[0].name = "a";
  plan.tasks[1].name = "b";
  NonFinite one;
  one.task = TaskId(1);
  one.born = true;
  one.position = 5;
  NonFinite other = one;
  other.position = 2;
  EXPECT_TRUE(comes_first(other, one, plan));
  other.born = false;
  EXPECT_TRUE(comes_first(one, other, plan));
  other = one;
  other.task = TaskId(0);
  EXPECT_TRUE(comes_first(other, one, plan));
  one.step = -1;
  EXPECT_TRUE(comes_first(one, other, plan));
}

}  // namespace
}  // namespace troupe
