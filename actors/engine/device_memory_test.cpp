// Plans whose devices have memory of their own.
#include <gtest/gtest.h>

#include <algorithm>

#include "actors/engine/device_names.h"
#include "actors/engine/engine.h"
#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/test_backend.h"
#include "actors/engine/thread_runner.h"

namespace troupe {
namespace {

KernelTable on_both_kinds() {
  KernelTable kernels = sample_kernels();
  kernels.add("mix", DeviceKind::cuda, kernels.find("mix", DeviceKind::cpu));
  return kernels;
}

// A plan for CPU devices as one for those of a backend; two of every three lie on the second.
Plan on_cuda(Plan plan) {
  for (size_t d = 0; d < plan.devices.size(); ++d) {
    plan.devices[d].name = d % 3 == 0 ? "cuda:0" : "cuda:1." + std::to_string(d);
    if (d % 3 == 0 && d > 0) plan.devices[d].name += "." + std::to_string(d);
  }
  return plan;
}

TEST(DeviceNames, SayWhichDevice) {
  EXPECT_EQ(number_of("cuda:12"), 12);
  EXPECT_EQ(number_of("cuda:1.7"), 1);
  EXPECT_EQ(number_of("cuda"), -1);
  Plan plan;
  plan.devices = {{"cpu:0", {}}, {"host:0", {}}};
  EXPECT_EQ(kind_of(plan, DeviceId(0)), DeviceKind::cpu);
  EXPECT_EQ(kind_of(plan, DeviceId(1)), DeviceKind::cpu);
  plan.devices[0].name = "cuda:0.1";
  EXPECT_EQ(kind_of(plan, DeviceId(0)), DeviceKind::cuda);
  EXPECT_EQ(kind_of(plan, DeviceId(1)), DeviceKind::cuda);
}

TEST(DeviceMemory, ARunOnDevicesEqualsTheInterpreter) {
  const KernelTable kernels = on_both_kinds();
  const SteadyClock clock;
  int compared = 0;
  for (uint64_t seed = 0; seed < 120; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    if (!graph.sources.empty()) continue;
    TestBackend backend(2);
    EngineOptions options;
    options.executors = 2;
    options.backend = &backend;
    Engine engine(kernels, options, clock);
    const PlanHandle handle = engine.load(std::make_shared<Plan>(on_cuda(graph.plan)));
    ThreadRunner threads(engine);
    engine.run(handle, 0, 4);
    EXPECT_GT(backend.bytes_on_devices, 0);
    EXPECT_GT(backend.queues, 0);
    Interpreter expected(graph.plan, kernels, {}, 0);
    expected.run(4);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const PlanRegister& reg = graph.plan.registers[r];
      if (reg.is_control() || reg.arena != ArenaKind::variables) continue;
      const RegisterId id(static_cast<int64_t>(r));
      const PlanVariable whole{reg.name, reg.dtype, reg.shape, {{id, Box::whole(reg.shape), -1}}};
      std::vector<std::byte> have(static_cast<size_t>(reg.bytes));
      engine.registers(handle).read(whole, have);
      EXPECT_TRUE(std::ranges::equal(have, expected.newest(id))) << seed << reg.name;
      ++compared;

      std::fill(have.begin(), have.end(), std::byte{42});
      engine.write(handle, whole, have);
      std::vector<std::byte> again(have.size());
      engine.registers(handle).read(whole, again);
      EXPECT_EQ(again, have);
    }
  }
  EXPECT_GT(compared, 20);
}

// Of an unlike element in its third firing, as a kernel on a device does.
void report_one(const KernelArgs& args, Stream&) {
  if (args.firing.step != 2) return;
  *args.report = {KernelReport::kReported, args.task, 0, 7, -3};
}

TEST(DeviceMemory, WhatAKernelReportsIsTheFaultOfItsTask) {
  KernelTable kernels;
  kernels.add("picky", DeviceKind::cuda, report_one);
  PlanBuilder builder;
  const DeviceId device = builder.device("cuda:0.1");
  const StreamId stream = builder.stream(device, "compute");
  builder.task(stream, "look up", "picky");
  TestBackend backend(1);
  EngineOptions options;
  options.backend = &backend;
  const SteadyClock clock;
  Engine engine(kernels, options, clock);
  const PlanHandle handle = engine.load(std::make_shared<Plan>(builder.finish()));
  ThreadRunner threads(engine);
  for (int life = 0; life < 2; ++life) {
    engine.run(handle, 0, 2);
    try {
      engine.run(handle, 2, 5);
      FAIL() << "nothing was raised";
    } catch (const FaultError& error) {
      EXPECT_EQ(error.fault().what, "element 7 of operand 0 is -3, which 'picky' cannot take");
      EXPECT_EQ(error.fault().task, "look up");
      EXPECT_EQ(error.fault().device, "cuda:0.1");
    }
  }
}

// A queue may launch again what it launched with attributes that go with their plan.
TEST(DeviceMemory, QueuesForgetWhatAPlanThatGoesHasLaunched) {
  KernelTable kernels;
  kernels.add("nothing", DeviceKind::cuda, [](const KernelArgs&, Stream&) {});
  PlanBuilder builder;
  for (const char* name : {"cuda:0", "cuda:1"}) {
    builder.task(builder.stream(builder.device(name), "compute"), name, "nothing");
  }
  const auto plan = std::make_shared<Plan>(builder.finish());
  TestBackend backend(2);
  EngineOptions options;
  options.backend = &backend;
  const SteadyClock clock;
  Engine engine(kernels, options, clock);
  const PlanHandle first = engine.load(plan);
  const PlanHandle second = engine.load(plan);
  ThreadRunner threads(engine);
  engine.run(first, 0, 3);
  EXPECT_EQ(backend.forgotten, 0);
  engine.unload(first);
  EXPECT_EQ(backend.forgotten, 2);
  engine.run(second, 0, 3);
  EXPECT_EQ(backend.forgotten, 2);
}

TEST(DeviceMemory, VariablesKeepTheirBytesWhenTheyGrow) {
  TestBackend backend(1);
  Memory memory(Memory::Kind::own, nullptr, &backend);
  Plan plan;
  plan.devices = {{"cuda:0", {64, 64, 64}}, {"host:0", {0, 32, 0}}};
  memory.add(plan, 0);
  EXPECT_EQ(backend.bytes_on_devices, 128);
  EXPECT_EQ(backend.pinned_bytes, 96);
  memory.base("cuda:0", ArenaKind::io, 0)[63] = std::byte{1};
  memory.base("host:0", ArenaKind::workspace, 0)[31] = std::byte{1};
  EXPECT_FALSE(memory.is_on_host("cuda:0", ArenaKind::variables));
  const std::byte seven{7};
  memory.copy(memory.base("cuda:0", ArenaKind::variables, 0) + 63, &seven, 1);
  plan.devices.front().arena_bytes[0] = 128;
  memory.add(plan, 1);
  std::byte found[2];
  memory.copy(found, memory.base("cuda:0", ArenaKind::variables, 1) + 63, 2);
  EXPECT_EQ(found[0], seven);
  EXPECT_EQ(found[1], std::byte{0});
}

}  // namespace
}  // namespace troupe
