// What a driver's plans and batches are for its workers when some of that fails.

#include <gtest/gtest.h>

#include "actors/engine/interpreter.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/sample_step.h"
#include "actors/engine/test_driver.h"
#include "runtime/files/test_dir.h"

namespace troupe {
namespace {

// A plan over two devices of a kernel that no worker has; its variable has so many elements, 0: there is none.
std::shared_ptr<const Plan> unknown_kernel(int64_t elements) {
  PlanBuilder builder("strange");
  const DeviceId device = builder.device("cpu:0");
  builder.task(builder.stream(device, "s"), "a", "no such kernel");
  builder.task(builder.stream(builder.device("cpu:1"), "s"), "b", "no such kernel");
  if (elements > 0) {
    const PlanBuilder::Register large{.name = "large", .elements = elements, .arena = ArenaKind::variables};
    builder.variable("large", builder.constant(device, large));
  }
  return std::make_shared<const Plan>(builder.finish());
}

TEST(Driver, APlanThatAllWorkersRefuseLeavesThemInStep) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  const Plan trains = sample_step(2);
  for (const std::set<int>& far : {std::set<int>(), std::set<int>{1}}) {
    Rig rig(kernels, clock, {{1, 1}, {1, 1}});
    rig.far = far;
    Driver driver(rig, {2, kToken, 5}, clock);
    ASSERT_TRUE(driver.gather(5, 5));
    const auto run = [&](PlanHandle plan, int64_t first, int64_t steps) {
      driver.start(plan, first, steps);
      while (!driver.wait_for(1, 10)) {
      }
    };
    EXPECT_THROW(driver.load(unknown_kernel(1000), {}), PlanError);  // there is no other yet
    const auto feed = sample_feed(1, 6);
    const PlanHandle train = driver.load(std::make_shared<const Plan>(trains), sources_of(feed));
    run(train, 0, 2);
    EXPECT_THROW(driver.load(unknown_kernel(0), {}), PlanError);
    run(train, 2, 2);
    const PlanHandle other = driver.load(std::make_shared<const Plan>(two_devices()), {});
    run(other, 0, 3);
    run(train, 4, 2);
    // The same weights as without any of this.
    Interpreter expected(trains, kernels, sources_of(feed), 0);
    expected.run(6);
    for (const PlanVariable& variable : driver.plan(train).variables) {
      const std::span<const std::byte> right = expected.newest(variable.parts.front().reg);
      std::vector<std::byte> found(right.size());
      driver.registers(train).read(variable, found);
      EXPECT_TRUE(std::ranges::equal(found, right)) << variable.name;
    }
    driver.shutdown();
  }
}

TEST(Driver, APlanThatAllWorkersRefuseEndsTheRunWhenVariablesHaveMovedForIt) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  Rig rig(kernels, clock, {{1, 1}, {1, 1}});
  Driver driver(rig, {2, kToken, 5}, clock);
  ASSERT_TRUE(driver.gather(5, 5));
  const PlanHandle train = driver.load(std::make_shared<const Plan>(sample_step(2)), sources_of(sample_feed(1, 2)));
  EXPECT_THROW(driver.load(unknown_kernel(1000), {}), PlanError);
  try {
    driver.start(train, 0, 1);
    ADD_FAILURE() << "started";
  } catch (const FaultError& error) {
    EXPECT_TRUE(error.fault().what.starts_with("the run is over: plan 'strange' could not be loaded by all workers: "))
        << error.fault().what;
  }
}

// A worker that could not open the memory of a batch, once.
TEST(Driver, ABatchThatDidNotReachAWorkerFailsTheStartAndIsHandedOverAgain) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  Rig rig(kernels, clock, {{1, 1}, {1, 1}});
  bool spoils = true;
  rig.is_told = [&](int worker, Command& command) {
    auto* given = std::get_if<HandOver>(&command);
    if (given != nullptr && worker == 1 && std::exchange(spoils, false)) given->memory.file = -1;
  };
  Driver driver(rig, {2, kToken, 5}, clock);
  ASSERT_TRUE(driver.gather(5, 5));
  const auto feed = sample_feed(1, 2);
  const auto all = sample_feed(1, 5);
  const PlanHandle plan = driver.load(std::make_shared<const Plan>(sample_step(2)), sources_of(feed));
  const auto wait = [&] {
    while (!driver.wait_for(1, 5)) {
    }
  };
  const auto is_told = [](const std::function<void()>& call) {
    const std::string told = fault_of(call);
    EXPECT_NE(told.find("worker 1 (here, process 101): shared memory of process "), std::string::npos) << told;
  };
  is_told([&] { driver.start(plan, 0, 2); });
  driver.start(plan, 0, 2);
  wait();
  // Ahead of a step: the fault comes when that runs.
  feed->put(2, *all->find(2));
  spoils = true;
  driver.wake();
  driver.start(plan, 2, 1);
  is_told(wait);
  driver.start(plan, 2, 1);
  wait();
  // It has come before the step begins.
  feed->put(3, *all->find(3));
  spoils = true;
  driver.wake();
  driver.observe(plan, {});
  driver.start(plan, 3, 1);
  wait();
  EXPECT_FALSE(spoils);
  driver.shutdown();
}

}  // namespace
}  // namespace troupe
