#include "actors/engine/firing_trace.h"

#include <gtest/gtest.h>

#include "actors/engine/engine.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

Plan two_streams() {
  PlanBuilder builder;
  const DeviceId device = builder.device("cpu:0");
  const TaskId reader = builder.task(builder.stream(device, "late"), "reader", "mix");
  const TaskId writer = builder.task(builder.stream(device, "early"), "writer", "slow");
  builder.read(reader, builder.output(writer, {.name = "x"}));
  return builder.finish();
}

TracedFiring firing_at(int64_t step) {
  TracedFiring firing;
  firing.step = step;
  return firing;
}

TEST(FiringTrace, KeepsTheFiringsOfItsStepsAlone) {
  FiringTrace trace(two_streams(), 3, 2);
  for (int64_t step = 0; step < 9; ++step) trace.add(StreamId(0), firing_at(step));
  ASSERT_EQ(trace.firings().size(), 2u);
  EXPECT_EQ(trace.firings()[0].step, 3);
  EXPECT_EQ(trace.firings()[1].step, 4);
  EXPECT_FALSE(FiringTrace(two_streams(), 3, 0).any());
}

TEST(FiringTrace, AWaitGoesFromTheFirstLackToTheLastArrival) {
  FiringTrace trace(two_streams(), 0, 10);
  trace.waits(StreamId(0), 1);
  trace.goes_on(StreamId(0), WaitsFor::input, RegisterId(7), 2);
  trace.waits(StreamId(0), 2.5);
  trace.goes_on(StreamId(0), WaitsFor::source, {}, 3);
  trace.add(StreamId(1), firing_at(0));  // of another stream
  trace.add(StreamId(0), firing_at(0));
  trace.add(StreamId(0), firing_at(1));
  ASSERT_EQ(trace.firings().size(), 3u);
  EXPECT_EQ(trace.firings()[0].waited_for, WaitsFor::nothing);
  EXPECT_EQ(trace.firings()[1].waited_for, WaitsFor::source);
  EXPECT_EQ(trace.firings()[1].wait_begin_s, 1);
  EXPECT_EQ(trace.firings()[1].wait_end_s, 3);
  EXPECT_EQ(trace.firings()[2].waited_for, WaitsFor::nothing);
}

TEST(FiringTrace, ShortWaitsAndThoseOfAnEarlierLifeAreNotKept) {
  FiringTrace trace(two_streams(), 0, 10);
  trace.waits(StreamId(0), 1);
  trace.goes_on(StreamId(0), WaitsFor::input, RegisterId(7), 1 + kShortestWait / 2);
  trace.add(StreamId(0), firing_at(0));
  trace.waits(StreamId(0), 2);
  trace.restart();
  trace.goes_on(StreamId(0), WaitsFor::step, {}, 3);
  trace.add(StreamId(0), firing_at(1));
  for (const TracedFiring& firing : trace.firings()) EXPECT_EQ(firing.waited_for, WaitsFor::nothing);
}

SimulatedClock clock_of_kernels;
void take_a_second(const KernelArgs&, Stream&) { clock_of_kernels.advance_to(clock_of_kernels.now() + 1); }

TEST(FiringTrace, AnEngineTellsWhatAStreamWaitedFor) {
  KernelTable kernels = sample_kernels();
  kernels.add("slow", DeviceKind::cpu, take_a_second);
  EngineOptions options;
  options.spin_s = 0;  // the clock stands still
  Engine engine(kernels, options, clock_of_kernels);
  const PlanHandle plan = engine.load(std::make_shared<Plan>(two_streams()));
  engine.observe(plan, {.trace_steps = 2});
  const double began = clock_of_kernels.now();
  for (int64_t step = 0; step < 2; ++step) {
    engine.start(plan, step, 1);
    engine.executor(0).run(10);
    clock_of_kernels.advance_to(clock_of_kernels.now() + 10);
  }
  const std::vector<TracedFiring> trace = engine.observations(plan).trace;
  ASSERT_EQ(trace.size(), 4u);
  EXPECT_EQ(trace[0].task, TaskId(1));  // the writer
  EXPECT_EQ(trace[0].waited_for, WaitsFor::nothing);
  EXPECT_EQ(trace[0].end_s - trace[0].begin_s, 1);
  EXPECT_EQ(trace[1].waited_for, WaitsFor::input);
  EXPECT_EQ(trace[1].waited_reg, RegisterId(0));
  EXPECT_EQ(trace[1].wait_begin_s, began);
  EXPECT_EQ(trace[1].wait_end_s, began + 1);
  EXPECT_EQ(trace[2].waited_for, WaitsFor::step);
  EXPECT_EQ(trace[2].wait_end_s, began + 11);
}

}  // namespace
}  // namespace troupe
