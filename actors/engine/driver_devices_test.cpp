// Runs over workers whose devices have memory of their own.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <map>

#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/test_backend.h"
#include "actors/engine/test_driver.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

const std::vector<std::set<int>> kHosts = {{}, {1}, {0, 1}};  // workers that share no memory with the driver

KernelTable on_both_kinds() {
  KernelTable kernels = sample_kernels();
  kernels.add("mix", DeviceKind::cuda, kernels.find("mix", DeviceKind::cpu));
  return kernels;
}

WorkerShare with_devices(int32_t devices, int32_t executors) { return {devices, executors, DeviceKind::cuda}; }

// A driver over two workers with so many devices.
struct Workers {
  Workers(const KernelTable& kernels, int32_t devices_of_first, int32_t devices_of_second, const std::set<int>& far)
      : backends{{TestBackend(devices_of_first), TestBackend(devices_of_second)}},
        rig(kernels, clock, {with_devices(devices_of_first, 1), with_devices(devices_of_second, 2)}, {},
            {&backends[0], &backends[1]}),
        driver(rig, {2, kToken, 5}, clock) {
    rig.far = far;
    EXPECT_TRUE(driver.gather(5, 5));
  }
  void steps(PlanHandle plan, int64_t first, int64_t count) {
    driver.start(plan, first, count);
    while (!driver.wait_for(1, 10)) {
    }
  }
  std::vector<std::byte> read(PlanHandle plan, const PlanVariable& variable) {
    std::vector<std::byte> found(static_cast<size_t>(variable.shape.elements() * size_of(variable.dtype)));
    driver.registers(plan).read(variable, found);
    return found;
  }

  const SteadyClock clock{};
  std::array<TestBackend, 2> backends;
  Rig rig;
  Driver driver;
};

std::vector<std::byte> random_bytes(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<std::byte> bytes(static_cast<size_t>(count));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  return bytes;
}

// A register as a whole.
PlanVariable whole(const PlanRegister& reg, RegisterId id) {
  return {reg.name, reg.dtype, reg.shape, {{id, Box::whole(reg.shape), -1}}};
}

// Whether nothing else is written where its newest version lies.
bool stays(const Plan& plan, const PlanRegister& reg) {
  if (reg.is_control() || !reg.device.valid() || !reg.producer.valid()) return false;
  const PlanTask& task = plan.task(reg.producer);
  return task.shards == 0 || task.shards * task.pieces_per_shard == task.firings_per_step;  // or it ends empty
}

TEST(DriverDevices, PlansComputeWhatTheInterpreterDoes) {
  const KernelTable kernels = on_both_kinds();
  int graphs = 0;
  int compared = 0;
  for (uint64_t seed = 0; graphs < 25; ++seed) {
    const bool reuses = seed % 4 == 0;
    SampleGraph graph = sample_graph(seed, {.reuse_bytes = reuses});
    if (!graph.sources.empty() || graph.plan.devices.size() < 2) continue;
    ++graphs;
    for (size_t d = 0; d < graph.plan.devices.size(); ++d) graph.plan.devices[d].name = "cuda:" + std::to_string(d);
    Workers run(kernels, 1, static_cast<int32_t>(graph.plan.devices.size()) - 1, kHosts[seed % kHosts.size()]);
    const PlanHandle plan = run.driver.load(std::make_shared<const Plan>(graph.plan), {});
    EXPECT_GT(run.backends[0].bytes_on_devices + run.backends[1].bytes_on_devices, 0);
    Interpreter expected(graph.plan, kernels, graph.sources, 0);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const PlanRegister& reg = graph.plan.registers[r];
      const RegisterId id(static_cast<int64_t>(r));
      if (reg.is_control() || reg.arena != ArenaKind::variables || reg.slots.size() != 1) continue;
      const std::vector<std::byte> initial = random_bytes(reg.bytes, seed + r);
      run.driver.write(plan, whole(reg, id), initial);
      expected.set(id, 0, initial);
    }
    run.steps(plan, 0, 4);
    run.steps(plan, 4, 3);
    expected.run(7);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const PlanRegister& reg = graph.plan.registers[r];
      const RegisterId id(static_cast<int64_t>(r));
      if (!stays(graph.plan, reg) || (reuses && reg.arena != ArenaKind::variables)) continue;
      EXPECT_TRUE(std::ranges::equal(run.read(plan, whole(reg, id)), expected.newest(id))) << seed << reg.name;
      ++compared;
    }
    run.driver.shutdown();
  }
  EXPECT_GT(compared, 150);
}

// A weight on the first worker's device that is read on the second's: there it is added up in "sum".
std::shared_ptr<const Plan> weight_and_reader(int64_t unused_elements, bool trains) {
  PlanBuilder builder;
  const DeviceId here = builder.device("cuda:0");
  const DeviceId there = builder.device("cuda:1");
  const StreamId near = builder.stream(here, "compute");
  const PlanBuilder::Register weight{
      .name = "weight", .elements = 8, .arena = ArenaKind::variables, .initial = trains ? 1 : 0};
  RegisterId read;
  if (trains) {
    const TaskId update = builder.task(near, "update", "count");
    read = builder.output(update, weight);
    builder.read(update, read);
  } else {
    read = builder.constant(here, weight);
  }
  builder.variable("weight", read);
  const TaskId reader = builder.task(builder.stream(there, "compute"), "look", "copy");
  if (!trains) builder.read(reader, read);
  builder.fetched("seen", builder.output(reader, {.name = "seen", .elements = 8, .arena = ArenaKind::io}));
  if (unused_elements > 0) {
    builder.variable(
        "unused",
        builder.constant(here, {.name = "unused", .elements = unused_elements, .arena = ArenaKind::variables}));
  }
  return std::make_shared<const Plan>(builder.finish());
}

void count(const KernelArgs& args, Stream&) {
  for (int64_t i = 0; i < args.outputs[0].elements(); ++i) ++args.outputs[0].as<int64_t>()[i];
}
void copy(const KernelArgs& args, Stream&) {
  if (!args.inputs.empty()) std::memcpy(args.outputs[0].data, args.inputs[0].data, 64);
}

// What one plan has written of a variable, another finds where it reads it in another process, also where the variables have
// moved between.
TEST(DriverDevices, PlansSeeWhatOthersHaveWrittenInOtherProcesses) {
  KernelTable kernels;
  kernels.add("count", DeviceKind::cuda, count);
  kernels.add("copy", DeviceKind::cuda, copy);
  for (const std::set<int>& far : kHosts) {
    Workers run(kernels, 1, 1, far);
    const PlanHandle train = run.driver.load(weight_and_reader(0, true), {});
    const PlanHandle look = run.driver.load(weight_and_reader(0, false), {});
    const auto seen = [&](PlanHandle plan) {
      std::vector<int64_t> values(8);
      run.driver.registers(plan).fetch(run.driver.plan(plan).outputs.front(),
                                       std::as_writable_bytes(std::span(values)));
      return values;
    };
    std::vector<int64_t> given = {1, 2, 3, 4, 5, 6, 7, 8};
    const auto weight = [&](PlanHandle plan) { return run.driver.plan(plan).variables.front(); };
    run.driver.write(train, weight(train), std::as_bytes(std::span(given)));
    std::map<PlanHandle, int64_t> done;  // steps: a plan goes on where it stopped
    const auto expect_seen = [&](PlanHandle plan) {
      run.steps(plan, done[plan]++, 1);
      EXPECT_EQ(seen(plan), given);
    };
    expect_seen(look);
    run.steps(train, 0, 2);
    for (int64_t& value : given) value += 2;
    expect_seen(look);
    const PlanHandle larger = run.driver.load(weight_and_reader(100'000, false), {});
    expect_seen(look);
    expect_seen(larger);
    run.steps(train, 2, 1);
    for (int64_t& value : given) value += 1;
    expect_seen(look);
    run.driver.unload(look);
    expect_seen(larger);
    std::vector<int64_t> found(8);
    run.driver.registers(train).read(weight(train), std::as_writable_bytes(std::span(found)));
    EXPECT_EQ(found, given);
    run.driver.shutdown();
  }
}

TEST(DriverDevices, APlanNeedsDevicesOfItsKind) {
  const KernelTable kernels = on_both_kinds();
  Workers run(kernels, 1, 1, {});
  try {
    run.driver.load(std::make_shared<const Plan>(two_devices()), {});
    FAIL() << "loaded";
  } catch (const PlanError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("runs on cpu:0, but the run's workers offer CUDA devices; start them with "
                        "--devices cpu=COUNT"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace troupe
