// Links between processes that share no memory, and processes, that fail.

#include <gtest/gtest.h>

#include "actors/engine/exchange_hosts.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

const std::vector<WorkerShare> kThree = {{1, 1}, {1, 1}, {1, 1}};

// A task on the first device, and one on the second that reads what it makes.
Plan there() {
  PlanBuilder builder;
  const TaskId a = builder.task(builder.stream(builder.device("cpu:0"), "s"), "a", "mix");
  const TaskId b = builder.task(builder.stream(builder.device("cpu:1"), "s"), "b", "mix");
  builder.read(b, builder.output(a, {.name = "made"}));
  return builder.finish();
}

// A graph whose first device reads a constant of the second before its first firing, and what that makes.
TEST(Exchange, APeerThatFailsIsNamedInEveryPhase) {
  const KernelTable table = sample_kernels();
  for (const std::string phase : {"before it begins", "at the restart", "in a step", "at a fence"}) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      PlanBuilder builder;
      const StreamId here = builder.stream(builder.device("cpu:0"), "s");
      const DeviceId other = builder.device("cpu:1");
      const StreamId there = builder.stream(other, "s");
      const TaskId a = builder.task(here, "a", "mix");
      const TaskId b = builder.task(there, "b", "mix");
      builder.read(a, builder.constant(other, {.name = "constant", .elements = 1000, .initial = 1}));
      builder.read(b, builder.output(a, {.name = "there", .slots = 2}));
      builder.read(a, builder.output(b, {.name = "back", .slots = 2, .initial = 1}));
      Hosts hosts(table, {.seed = seed, .delay = 6, .shares = {{1, 1}, {1, 1}}});
      hosts.load(builder.finish());
      if (phase == "before it begins") hosts.kill(1);
      if (phase == "at the restart") {
        hosts.networks().fate = [&](size_t from, size_t, std::span<const std::byte>) {
          return from == 1 ? Fate::lose : Fate::arrive;
        };
      }
      const bool began = hosts.restart(0);
      if (phase == "before it begins" || phase == "at the restart") {
        EXPECT_NE(hosts.failure() + hosts.fault(), "") << phase;
        EXPECT_NE((hosts.failure() + hosts.fault()).find("worker 1"), std::string::npos) << phase << hosts.failure();
        EXPECT_NE(hosts.failure(), "waits for ever") << phase;
        continue;
      }
      ASSERT_TRUE(began) << hosts.failure();
      hosts.go(1'000'000);
      hosts.run([left = 100]() mutable { return --left < 0; });
      EXPECT_EQ(hosts.fault(), "");
      if (phase == "at a fence") hosts.hold();
      hosts.kill(1);
      if (phase == "at a fence") {
        hosts.fence();
        EXPECT_NE(hosts.failure(), "waits for ever");
        hosts.resume();
      }
      hosts.run();
      EXPECT_TRUE(hosts.fault().starts_with("worker 1 ")) << phase << hosts.fault();
      EXPECT_NE(hosts.fault().find("waited for worker 1"), std::string::npos) << phase << hosts.fault();
    }
  }
}

// So many seconds.
void pass(Hosts& hosts, double seconds) {
  for (const double until = hosts.clock().now() + seconds; hosts.clock().now() < until;) {
    hosts.clock().advance_to(hosts.clock().now() + 0.25);
    hosts.run();
  }
}

TEST(Exchange, ALinkThatIsDeadOneWayIsToldAtBothEnds) {
  const KernelTable table = sample_kernels();
  Hosts hosts(table, {.seed = 3, .delay = 0, .shares = kThree});
  hosts.load(there());
  ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
  hosts.networks().mute(0, 1);
  pass(hosts, Hosts::kPatience - 1);
  EXPECT_EQ(hosts.fault(), "");
  pass(hosts, 2);
  ASSERT_TRUE(hosts.engine(0).fault() && hosts.engine(1).fault());
  EXPECT_TRUE(hosts.engine(0).fault()->what.starts_with("worker 1 ")) << hosts.fault();
  EXPECT_EQ(hosts.engine(1).fault()->what, "worker 0 says nothing over the network");
  EXPECT_EQ(hosts.engine(2).fault(), std::nullopt);
}

TEST(Exchange, ALinkThatIsSilentIsTold) {
  const KernelTable table = sample_kernels();
  Hosts hosts(table, {.seed = 3, .delay = 0, .shares = kThree});
  hosts.load(there());
  ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
  pass(hosts, 3 * Hosts::kPatience);
  EXPECT_EQ(hosts.fault(), "");  // beats
  hosts.networks().fail(1, true);
  pass(hosts, Hosts::kPatience - 1);
  EXPECT_EQ(hosts.fault(), "");
  pass(hosts, 2);
  EXPECT_NE(hosts.fault().find("worker 1 says nothing over the network; waited for worker 1"), std::string::npos)
      << hosts.fault();
}

// Each end notices when the other does not: beats say what has been heard.
TEST(Exchange, ALinkToTheDriverThatIsDeadOneWayIsToldThere) {
  SimulatedClock clock;
  QueueNetworks networks(1, 0);
  std::vector<std::unique_ptr<Exchange>> both;  // a worker, and the driver
  for (int self : {0, 1}) {
    ExchangeOptions options;
    options.self = self;
    options.names = {"worker 0", "the driver"};
    options.far = {self == 1, self == 0};
    options.process_of = {0};
    options.patience_s = 5;
    both.push_back(std::make_unique<Exchange>(networks.make(), options, clock));
  }
  for (auto& each : both) each->connect({"queue 0", "queue 1"});
  const auto pass = [&](double seconds) {
    for (const double until = clock.now() + seconds; clock.now() < until;) {
      clock.advance_to(clock.now() + 0.25);
      for (auto& each : both) each->progress();
    }
  };
  pass(20);
  networks.mute(1, 0);
  pass(4);
  EXPECT_EQ(both[1]->fault(), std::nullopt);
  pass(4);
  ASSERT_TRUE(both[1]->fault().has_value());
  EXPECT_EQ(both[1]->fault()->what, "worker 0 hears nothing over the network");
}

}  // namespace
}  // namespace troupe
