#include "actors/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

size_t threads() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

// Every variable is what the interpreter says after so many steps.
void expect_variables(Cluster& cluster, PlanHandle plan, const KernelTable& kernels, const SampleGraph& graph) {
  Interpreter expected(graph.plan, kernels, graph.sources, 0);
  const auto each = [&](auto&& visit) {
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const RegisterId reg(static_cast<int64_t>(r));
      const bool placed = cluster.engine().loaded(plan).device_of(reg).valid();
      if (placed && !graph.plan.registers[r].is_control()) visit(reg, graph.plan.registers[r]);
    }
  };
  each([&](RegisterId reg, const PlanRegister& of) {
    for (int32_t v = 0; v < of.initial; ++v) {
      expected.set(reg, v, cluster.engine().bytes(plan, reg, static_cast<size_t>(v)));
    }
  });
  expected.run(6);
  cluster.run(plan, 0, 4);
  cluster.run(plan, 4, 2);
  each([&](RegisterId reg, const PlanRegister& of) {
    if (of.arena != ArenaKind::variables || !of.producer.valid()) return;
    const auto have = cluster.engine().bytes(plan, reg);
    EXPECT_TRUE(std::ranges::equal(have, expected.newest(reg))) << graph.plan.name << " " << of.name;
  });
}

// A detached thread is counted out by its system a moment before it ends: wait until the number stands still.
size_t settled_threads() {
  size_t last = threads();
  for (int still = 0; still < 10;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const size_t now = threads();
    still = now == last ? still + 1 : 0;
    last = now;
  }
  return last;
}

TEST(Cluster, RandomGraphsOnItsThreadsComputeWhatTheInterpreterDoes) {
  const KernelTable kernels = sample_kernels();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    Cluster cluster(kernels, {.devices = 4, .executors = 2});
    const PlanHandle plan = cluster.load(std::make_shared<Plan>(graph.plan), graph.sources);
    expect_variables(cluster, plan, kernels, graph);
  }
}

TEST(Cluster, NoThreadSurvivesIt) {
  const KernelTable kernels = sample_kernels();
  { Cluster warm(kernels, {.devices = 2}); }
  const size_t before = settled_threads();
  for (int i = 0; i < 5; ++i) {
    Cluster cluster(kernels, {.devices = 2, .executors = 2});
    EXPECT_GE(threads(), before + 2);
  }
  EXPECT_EQ(settled_threads(), before);
}

TEST(Cluster, SeveralLiveSideBySide) {
  const KernelTable kernels = sample_kernels();
  const SampleGraph graph = sample_graph(3);
  Cluster a(kernels, {.devices = 2, .executors = 2});
  Cluster b(kernels, {.devices = 2, .executors = 1});
  const PlanHandle in_a = a.load(std::make_shared<Plan>(graph.plan), graph.sources);
  const PlanHandle in_b = b.load(std::make_shared<Plan>(graph.plan), graph.sources);
  a.start(in_a, 0, 50);
  b.start(in_b, 0, 50);
  EXPECT_TRUE(a.wait_for(30, 30));
  EXPECT_TRUE(b.wait_for(30, 30));
}

TEST(Cluster, ShutsDownInTheMiddleOfARun) {
  const KernelTable kernels = sample_kernels();
  const SampleGraph graph = sample_graph(5);
  for (int i = 0; i < 10; ++i) {
    Cluster cluster(kernels, {.devices = 2, .executors = 2});
    cluster.start(cluster.load(std::make_shared<Plan>(graph.plan), graph.sources), 0, 1000000);
  }
}

TEST(Cluster, SaysThatItIsShutDown) {
  const KernelTable kernels = sample_kernels();
  Cluster cluster(kernels);
  cluster.shutdown();
  cluster.shutdown();
  EXPECT_THROW(cluster.wait_for(1, 1), FaultError);
  EXPECT_THROW(cluster.load(std::make_shared<Plan>(sample_graph(1).plan)), FaultError);
}

void throwing(const KernelArgs&, Stream&) { throw std::runtime_error("no such luck"); }
void failing(const KernelArgs& args, Stream&) { *args.failure = "id 7 is outside the table of 5"; }

TEST(Cluster, AFailureInAKernelReachesTheDriverAsAFault) {
  KernelTable kernels;
  kernels.add("throwing", DeviceKind::cpu, throwing);
  kernels.add("failing", DeviceKind::cpu, failing);
  for (const std::string kernel : {"throwing", "failing"}) {
    PlanBuilder builder;
    const StreamId stream = builder.stream(builder.device("cpu:0"), "compute");
    builder.task(stream, "embed", kernel);
    Cluster cluster(kernels);
    const PlanHandle plan = cluster.load(std::make_shared<Plan>(builder.finish()));
    try {
      cluster.run(plan, 0, 1);
      FAIL() << "nothing was thrown";
    } catch (const FaultError& error) {
      EXPECT_EQ(error.fault().task, "embed");
      EXPECT_EQ(error.fault().device, "cpu:0");
      EXPECT_EQ(error.fault().what, kernel == "throwing" ? "no such luck" : "id 7 is outside the table of 5");
    }
    EXPECT_THROW(cluster.run(plan, 0, 1), FaultError);  // afresh, and again
  }
}

}  // namespace
}  // namespace troupe
