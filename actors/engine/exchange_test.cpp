#include "actors/engine/exchange.h"

#include <gtest/gtest.h>

#include <cstring>

#include "actors/engine/exchange_hosts.h"
#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

// Reads the first half of each input.
std::vector<ByteRuns> first_half(const Attrs&, size_t, const TensorView& input) {
  return {{0, input.bytes() / 2, 1, 0}};
}
// Every second element.
std::vector<ByteRuns> every_second(const Attrs&, size_t, const TensorView& input) {
  return {{0, 8, input.elements() / 2, 16}};
}
// Every second of runs of two pages.
std::vector<ByteRuns> rows(const Attrs&, size_t, const TensorView& input) {
  return {{0, 8192, input.bytes() / 16384, 16384}};
}

// Fills with the step.
void count(const KernelArgs& args, Stream&) {
  for (const TensorView& output : args.outputs) {
    for (int64_t i = 0; i < output.elements(); ++i) output.as<int64_t>()[i] = 100 * args.firing.step + i + 1;
  }
}
void nothing(const KernelArgs&, Stream&) {}

KernelTable kernels() {
  KernelTable table = sample_kernels();
  table.add("count", DeviceKind::cpu, count);
  table.add("use", DeviceKind::cpu, nothing);
  table.add("half", DeviceKind::cpu, nothing, first_half);
  table.add("second", DeviceKind::cpu, nothing, every_second);
  table.add("rows", DeviceKind::cpu, nothing, rows);
  return table;
}

// Every register that stays as it was made, against the interpreter's.
void expect_equal(Hosts& hosts, const std::vector<WorkerShare>& shares, const Plan& plan, const Interpreter& expected,
                  uint64_t seed) {
  for (size_t r = 0; r < plan.registers.size(); ++r) {
    const RegisterId id(static_cast<int64_t>(r));
    const PlanRegister& reg = plan.registers[r];
    if (reg.is_control() || !reg.device.valid() || !reg.producer.valid()) continue;
    const PlanTask& task = plan.task(reg.producer);
    if (plan.streams[task.stream.index()].runs_ahead) continue;                                    // further on
    if (task.shards > 0 && task.shards * task.pieces_per_shard < task.firings_per_step) continue;  // ended empty
    const auto process = static_cast<size_t>(process_of_device(plan.devices[reg.device.index()].name, shares));
    const std::span<std::byte> found = hosts.engine(process).registers(PlanHandle(0)).bytes(id);
    EXPECT_TRUE(std::ranges::equal(found, expected.newest(id))) << "seed " << seed << ", " << reg.name;
  }
}

TEST(Exchange, PlansComputeWhatTheInterpreterDoesWhateverTheDelays) {
  const KernelTable table = kernels();
  const std::vector<WorkerShare> shares = {{1, 1}, {1, 1}, {8, 2}};
  int graphs = 0;
  int64_t crossed = 0;
  for (uint64_t seed = 0; graphs < 30; ++seed) {
    const SampleGraph graph = sample_graph(seed, {.reuse_bytes = false});
    if (graph.plan.devices.size() < 2) continue;
    ++graphs;
    Hosts hosts(table, {seed, static_cast<int>(seed % 3) * 8, shares});
    hosts.load(graph.plan, graph.sources);
    const auto run = [&](int64_t until) {
      hosts.go(until);
      hosts.run([&] { return hosts.reached(); });
      ASSERT_TRUE(hosts.reached()) << "seed " << seed << ": " << hosts.fault();
    };
    ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
    run(3);
    hosts.go(1000);  // ended where it is, in the middle of a step
    hosts.run([left = 25]() mutable { return --left < 0; });
    hosts.hold();
    ASSERT_TRUE(hosts.fence()) << hosts.failure();
    for (size_t h = 0; h < shares.size(); ++h) hosts.engine(h).stop();
    hosts.resume();
    hosts.run();
    Interpreter expected(graph.plan, table, graph.sources, 4);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const PlanRegister& reg = graph.plan.registers[r];
      if (reg.is_control() || !reg.device.valid()) continue;
      const auto process = static_cast<size_t>(process_of_device(graph.plan.devices[reg.device.index()].name, shares));
      const RegisterId id(static_cast<int64_t>(r));
      for (int32_t v = 0; v < reg.initial; ++v) {
        expected.set(id, v, hosts.bytes(process, id, static_cast<size_t>(v)));
      }
    }
    expected.run(5);
    ASSERT_TRUE(hosts.restart(4)) << hosts.failure();
    run(6);
    run(9);
    expect_equal(hosts, shares, graph.plan, expected, seed);
    EXPECT_EQ(hosts.fault(), "");
    for (size_t h = 0; h < 3; ++h) crossed += hosts.networks().bytes(h, (h + 1) % 3);
  }
  EXPECT_GT(crossed, 5'000);
}

// "made" of eight elements on the first device, with whoever reads it on others.
struct Made {
  Made() {
    for (const char* name : {"cpu:0", "cpu:1", "cpu:2"}) streams.push_back(builder.stream(builder.device(name), "s"));
    producer = builder.task(streams[0], "produce", "count");
    made = builder.output(producer, {.name = "made", .elements = 8});
  }
  TaskId reader(size_t device, const std::string& kernel) {
    const TaskId task = builder.task(streams[device], "read" + std::to_string(count++), kernel);
    builder.read(task, made);
    return task;
  }
  PlanBuilder builder;
  std::vector<StreamId> streams;
  TaskId producer;
  RegisterId made;
  int count = 0;
};
const std::vector<WorkerShare> kThree = {{1, 1}, {1, 1}, {1, 1}};

std::vector<int64_t> elements(std::span<const std::byte> bytes) {
  std::vector<int64_t> values(bytes.size() / sizeof(int64_t));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}
using Elements = std::vector<int64_t>;

TEST(Exchange, OnlyBytesThatAreReadCrossAndEqualReadsOfAProcessOnce) {
  Made graph;
  for (const char* kernel : {"half", "half", "second"}) graph.reader(1, kernel);
  graph.reader(2, "half");
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 1, .delay = 5, .shares = kThree});
  hosts.load(graph.builder.finish());
  ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
  for (size_t h : {1, 2}) {
    for (std::byte& byte : hosts.bytes(h, graph.made)) byte = std::byte{0};
  }
  hosts.go(1);
  hosts.run([&] { return hosts.reached(); });
  ASSERT_TRUE(hosts.reached()) << hosts.fault();
  EXPECT_EQ(hosts.networks().bytes(0, 1), 32 + 32);
  EXPECT_EQ(hosts.networks().bytes(0, 2), 32);
  EXPECT_EQ(elements(hosts.bytes(1, graph.made)), (Elements{1, 2, 3, 4, 5, 0, 7, 0}));
  EXPECT_EQ(elements(hosts.bytes(2, graph.made)), (Elements{1, 2, 3, 4, 0, 0, 0, 0}));
}

// "made" of many pages, of which the second process reads all and the third some rows; with two slots.
struct Wide {
  explicit Wide(int64_t elements) {
    for (const char* name : {"cpu:0", "cpu:1", "cpu:2"}) streams.push_back(builder.stream(builder.device(name), "s"));
    made = builder.output(builder.task(streams[0], "produce", "count"),
                          {.name = "made", .elements = elements, .slots = 2});
    builder.read(builder.task(streams[1], "all", "use"), made);
    builder.read(builder.task(streams[2], "rows", "rows"), made);
  }
  PlanBuilder builder;
  std::vector<StreamId> streams;
  RegisterId made;
};

int64_t total(const std::vector<std::span<std::byte>>& regions) {
  int64_t bytes = 0;
  for (const std::span<std::byte> region : regions) bytes += static_cast<int64_t>(region.size());
  return bytes;
}

TEST(Exchange, WhatCrossesInOnePieceLiesInRegisteredMemory) {
  constexpr int64_t kElements = 10'000;
  constexpr int64_t kBytes = kElements * 8;
  constexpr int64_t kRounding = 2 * 4096;
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 1, .delay = 5, .shares = kThree});
  Wide first(kElements);
  hosts.load(first.builder.finish());
  ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
  hosts.go(3);
  hosts.run([&] { return hosts.reached(); });
  ASSERT_TRUE(hosts.reached()) << hosts.fault();
  EXPECT_EQ(hosts.networks().registered_bytes(0, 1), 3 * kBytes);
  EXPECT_EQ(hosts.networks().registered_bytes(0, 2), 0);
  for (size_t h : {0, 1}) {
    const int64_t bytes = total(hosts.networks().registered(h));
    EXPECT_GE(bytes, 2 * kBytes);
    EXPECT_LE(bytes, 2 * kBytes + kRounding);
  }
  EXPECT_TRUE(hosts.networks().registered(2).empty());
}

TEST(Exchange, NothingIsRegisteredForAProcessThatSharesMemory) {
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 1, .shares = kThree, .near = {0, 1}});
  hosts.load(Wide(10'000).builder.finish());
  for (size_t h = 0; h < 3; ++h) EXPECT_TRUE(hosts.networks().registered(h).empty()) << h;
}

// Loads it beside a plan of other sizes and drops one after the other; the network looks whether what it is told to forget
// is there still.
TEST(Exchange, RegisteredMemoryFollowsThePlans) {
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 1, .delay = 5, .shares = kThree});
  const auto registered = [&](size_t h) { return total(hosts.networks().registered(h)); };
  const auto step = [&] {
    ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
    const int64_t before = hosts.networks().registered_bytes(0, 1);
    hosts.go(1);
    hosts.run([&] { return hosts.reached(); });
    ASSERT_TRUE(hosts.reached()) << hosts.fault();
    EXPECT_GE(hosts.networks().registered_bytes(0, 1) - before, 8 * 10'000);
  };
  hosts.load(Wide(10'000).builder.finish());
  step();
  const int64_t small = registered(0);
  hosts.load(Wide(100'000).builder.finish());  // its workspace takes the place of the first one's
  step();
  const int64_t both = registered(0);
  EXPECT_GE(both, 2 * 8 * 100'000);
  for (size_t h = 0; h < 3; ++h) hosts.engine(h).unload(PlanHandle(1));
  EXPECT_GE(registered(1), 2 * 8 * 10'000);
  EXPECT_LE(registered(1), small);
  for (size_t h = 0; h < 3; ++h) hosts.engine(h).unload(PlanHandle(0));
  EXPECT_EQ(registered(0) + registered(1), 0);
}

// A run of one step in which the bytes from the first process to the second have this fate.
std::string fault_of(Fate fate, bool checksums, Elements* found = nullptr) {
  Made graph;
  graph.reader(1, "use");
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 3, .delay = 5, .shares = kThree, .checksums = checksums});
  hosts.networks().fate = [&](size_t, size_t, std::span<const std::byte>) { return fate; };
  hosts.load(graph.builder.finish());
  EXPECT_TRUE(hosts.restart(0)) << hosts.failure();
  hosts.go(1);
  hosts.run();
  EXPECT_NE(hosts.reached(), !hosts.fault().empty());
  if (found != nullptr) *found = elements(hosts.bytes(1, graph.made));
  const std::optional<Fault> fault = hosts.engine(1).fault();  // which the others are told of
  return fault ? fault->str() : "";
}

TEST(Exchange, BytesThatAreDamagedOrLostAreNamed) {
  const Elements right = {1, 2, 3, 4, 5, 6, 7, 8};
  Elements found;
  EXPECT_EQ(fault_of(Fate::arrive, true, &found), "");
  EXPECT_EQ(found, right);
  EXPECT_EQ(fault_of(Fate::damage, true),
            "worker 0 register 'made' arrived with bytes that do not have their checksum; waited for worker 0");
  EXPECT_EQ(fault_of(Fate::damage, false, &found), "");  // who does not look does not see it
  EXPECT_NE(found, right);
  EXPECT_EQ(fault_of(Fate::lose, false), "worker 0 register 'made' did not arrive whole; waited for worker 0");
  EXPECT_EQ(fault_of(Fate::repeat, false, &found), "");
  EXPECT_EQ(found, right);
}

}  // namespace
}  // namespace troupe
