#include "actors/engine/driver.h"

#include <gtest/gtest.h>

#include <thread>

#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/test_driver.h"

namespace troupe {
namespace {

// Graphs whose sources can be read in any process have none here: those of the samples live in the test.
std::vector<SampleGraph> graphs() {
  std::vector<SampleGraph> all;
  for (uint64_t seed = 0; all.size() < 20 && seed < 400; ++seed) {
    SampleGraph graph = sample_graph(seed);
    if (graph.sources.empty() && graph.plan.devices.size() > 1) all.push_back(std::move(graph));
  }
  return all;
}

TEST(Driver, PlansOverSeveralWorkersComputeWhatTheInterpreterDoes) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  const std::vector<SampleGraph> all = graphs();
  ASSERT_GE(all.size(), 10u);
  for (const SampleGraph& graph : all) {
    const auto devices = static_cast<int32_t>(graph.plan.devices.size());
    Rig rig(kernels, clock, {{1, 1}, {devices, 2}});
    Driver driver(rig, {2, kToken, 5}, clock);
    ASSERT_TRUE(driver.gather(5, 5));
    const PlanHandle plan = driver.load(std::make_shared<const Plan>(graph.plan), {});
    Interpreter expected(graph.plan, kernels, graph.sources, 0);
    const Registers registers = driver.registers(plan);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const RegisterId reg(static_cast<int64_t>(r));
      const PlanRegister& of = graph.plan.registers[r];
      if (of.is_control() || !of.device.valid()) continue;
      for (int32_t v = 0; v < of.initial; ++v) expected.set(reg, v, registers.bytes(reg, static_cast<size_t>(v)));
    }
    expected.run(7);
    const auto run = [&](int64_t first, int64_t steps) {
      driver.start(plan, first, steps);
      while (!driver.wait_for(1, 10)) {
      }
    };
    run(0, 4);
    run(4, 3);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const RegisterId reg(static_cast<int64_t>(r));
      const PlanRegister& of = graph.plan.registers[r];
      if (of.is_control() || of.arena != ArenaKind::variables || !of.producer.valid()) continue;
      EXPECT_TRUE(std::ranges::equal(registers.bytes(reg), expected.newest(reg))) << graph.plan.name << of.name;
    }
    driver.shutdown();
  }
}

TEST(Driver, APlanWhoseSourcesNoOtherProcessCanReadIsUnloadedEverywhere) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  const SampleGraph graph = graphs().front();
  Rig rig(kernels, clock, {{static_cast<int32_t>(graph.plan.devices.size()), 1}});
  Driver driver(rig, {1, kToken, 5}, clock);
  ASSERT_TRUE(driver.gather(5, 5));
  const auto plan = std::make_shared<const Plan>(graph.plan);
  EXPECT_THROW(driver.load(plan, {{"mine", std::make_shared<SampleSource>(1)}}), PlanError);
  EXPECT_THROW(driver.plan(PlanHandle(0)), PlanError);
  EXPECT_THROW(rig.engine(0).plan(PlanHandle(0)), PlanError);
  const PlanHandle again = driver.load(plan, {});
  driver.start(again, 0, 2);
  while (!driver.wait_for(1, 10)) {
  }
  driver.shutdown();
}

TEST(Driver, AWorkerWhoseExecutorsDoNotRunIsNamedWithTheTaskWhoseTurnItIs) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  PlanBuilder builder;
  const TaskId a = builder.task(builder.stream(builder.device("cpu:0"), "s"), "a", "mix");
  const TaskId b = builder.task(builder.stream(builder.device("cpu:1"), "s"), "b", "mix");
  builder.read(b, builder.output(a, {.name = "there", .slots = 2}));
  Rig rig(kernels, clock, {{1, 1}, {1, 1}});
  rig.idle = {1};
  Driver driver(rig, {2, kToken, 5}, clock);
  ASSERT_TRUE(driver.gather(5, 5));
  driver.start(driver.load(std::make_shared<const Plan>(builder.finish()), {}), 0, 100);
  try {
    while (!driver.wait_for(1, 0.2)) {
    }
    ADD_FAILURE() << "nobody runs it";
  } catch (const FaultError& error) {
    EXPECT_EQ(error.fault().task, "b");
    EXPECT_NE(error.fault().what.find("'b' on cpu:1 of worker 1 (here, process 101), step 0: it lacks nothing, but its "
                                      "executor has not run it for "),
              std::string::npos)
        << error.fault().what;
    EXPECT_NE(error.fault().what.find("\n  'a' on cpu:0 of worker 0 (here, process 100), step 2, waits for room in its "
                                      "register 'there': version 0 is held by 'b' on cpu:1"),
              std::string::npos)
        << error.fault().what;
  }
}

TEST(Driver, WorkersThatKeepAPlanAtTheEndAreNotGivenAnother) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  Rig rig(kernels, clock, {{1, 1}, {1, 1}});
  rig.is_told = [](int worker, Command& command) {
    if (std::holds_alternative<Stop>(command) && worker == 1) command = GetObserved{99};  // which fails
  };
  Driver driver(rig, {2, kToken, 5}, clock);
  ASSERT_TRUE(driver.gather(5, 5));
  driver.load(std::make_shared<const Plan>(two_devices()), {});
  driver.shutdown();
  try {
    driver.load(std::make_shared<const Plan>(two_devices()), {});
    ADD_FAILURE() << "loaded";
  } catch (const FaultError& error) {
    EXPECT_NE(error.fault().what.find("the run is over: not all workers have unloaded their plans: "),
              std::string::npos)
        << error.fault().what;
  }
}

// What ends while the driver asks why nothing moves has not stalled.
TEST(Driver, WhatComesWhileItAsksForAStallCounts) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  Rig rig(kernels, clock, {{1, 1}, {1, 1}});
  rig.idle = {0, 1};
  Driver driver(rig, {2, kToken, 5}, clock);
  ASSERT_TRUE(driver.gather(5, 5));
  const PlanHandle plan = driver.load(std::make_shared<const Plan>(two_devices()), {});
  std::vector<std::unique_ptr<ThreadRunner>> runners;
  rig.is_told = [&](int, Command& command) {
    if (!std::holds_alternative<GetStall>(command) || !runners.empty()) return;
    for (int w : {0, 1}) runners.push_back(std::make_unique<ThreadRunner>(rig.engine(w)));
    while (rig.engine(0).running() || rig.engine(1).running()) std::this_thread::yield();
  };
  driver.start(plan, 0, 3);
  while (!driver.wait_for(1, 0.3)) {
  }
  EXPECT_EQ(runners.size(), 2u);
  driver.shutdown();
}

// What gather throws, the first time and the next.
std::string not_gathered(Rig& rig, const Clock& clock) {
  Driver driver(rig, {2, kToken, 5}, clock);
  std::string first;
  std::string second;
  for (std::string* text : {&first, &second}) {
    try {
      driver.gather(5, 5);
    } catch (const FaultError& error) {
      *text = error.fault().what;
    }
  }
  EXPECT_EQ(second, "the run is over: the workers were not all welcomed: " + first);
  return first;
}

TEST(Driver, AWorkerWhoseAddressIsNoneIsNamed) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  Rig rig(kernels, clock, {{1, 1}, {1, 1}});
  rig.far = {1};
  rig.says = [](int worker, Reply& reply) {
    if (auto* link = std::get_if<LinkAddress>(&reply); link != nullptr && worker == 1) link->address = "nowhere";
  };
  EXPECT_EQ(not_gathered(rig, clock),
            "the address of worker 1 (here, process 101) cannot be used: no way to another process: 'nowhere' is no "
            "address");
  Rig other(kernels, clock, {{1, 1}, {1, 1}});
  other.far = {1};
  other.is_told = [](int worker, Command& command) {
    if (auto* connect = std::get_if<Connect>(&command); connect != nullptr && worker == 0) connect->addresses[1] = "";
  };
  EXPECT_EQ(not_gathered(other, clock),
            "worker 0 (here, process 100): the address of worker 1 (here, process 101) cannot be used: none was told");
}

// Another machine's.
class OtherClock final : public Clock {
 public:
  explicit OtherClock(double ahead) : ahead_(ahead) {}
  double now() const override { return steady_.now() + ahead_; }

 private:
  SteadyClock steady_;
  double ahead_;
};

// Of steps 1 and 2 of some: what was traced over two workers, and when by the driver's clock.
struct TracedRun {
  double began = 0;
  double ended = 0;
  Plan plan;
  std::vector<TracedFiring> trace;
};
TracedRun traced_run(const std::vector<const Clock*>& clocks) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  TracedRun run;
  run.plan = graphs().front().plan;
  Rig rig(kernels, clock, {{1, 1}, {static_cast<int32_t>(run.plan.devices.size()), 2}}, clocks);
  Driver driver(rig, {2, kToken, 5}, clock);
  EXPECT_TRUE(driver.gather(5, 5));
  const PlanHandle plan = driver.load(std::make_shared<const Plan>(run.plan), {});
  driver.observe(plan, {.live_bytes = true, .trace_from = 1, .trace_steps = 2});
  run.began = clock.now();
  for (int64_t step = 0; step < 4; ++step) {
    driver.start(plan, step, 1);
    while (!driver.wait_for(1, 10)) {
    }
  }
  run.ended = clock.now();
  run.trace = driver.observations(plan).trace;
  return run;
}

void expect_all_firings_within(const TracedRun& run, double leeway_s) {
  std::map<std::pair<TaskId, int64_t>, int> firings;
  for (const TracedFiring& firing : run.trace) {
    ++firings[{firing.task, firing.step}];
    EXPECT_GE(firing.begin_s, run.began - leeway_s);
    EXPECT_LE(firing.begin_s, firing.end_s);
    EXPECT_LE(firing.end_s, run.ended + leeway_s);
  }
  std::map<std::pair<TaskId, int64_t>, int> expected;
  for (size_t t = 0; t < run.plan.tasks.size(); ++t) {
    const PlanTask& task = run.plan.tasks[t];
    const int32_t pieces = task.shards == 0 ? task.firings_per_step : task.shards * task.pieces_per_shard;
    for (int64_t step : {1, 2}) {
      if (pieces > 0) expected[{TaskId(static_cast<int64_t>(t)), step}] = std::min(pieces, task.firings_per_step);
    }
  }
  EXPECT_EQ(firings, expected);
}

TEST(Driver, ATraceHasEveryFiringOfItsStepsOnceInTheTimeOfTheDriver) { expect_all_firings_within(traced_run({}), 0); }

TEST(Driver, ATraceOfMachinesWithOtherClocksIsInTheTimeOfTheDriver) {
  const OtherClock ahead(1000);
  const OtherClock behind(-500);
  expect_all_firings_within(traced_run({&ahead, &behind}), 1);
}

}  // namespace
}  // namespace troupe
