#include "actors/engine/simulation.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "actors/engine/sample_graphs.h"
#include "runtime/base/random.h"
#include "runtime/plan/print.h"

namespace troupe {
namespace {

struct Result {
  std::optional<std::string> wrong;
  bool crossed = false;  // the mischief had a message to act on
  std::string victim;    // that message, as a stall calls it
  int64_t firings = 0;
};

// One graph under one timing: some steps, then some more, then afresh from another step.
Result simulate(uint64_t seed, const SampleGraph& graph, Mischief mischief = Mischief::none) {
  Random random(mix64(seed, 17));
  const KernelTable kernels = sample_kernels();
  SimulatedClock clock;
  const auto streams = static_cast<int>(graph.plan.streams.size());
  const int executors = random.chance(0.5) ? streams : static_cast<int>(random.between(1, streams));
  EngineOptions options;
  options.executors = executors;
  options.place = [&](const Plan&, StreamId stream) { return stream.value % executors; };
  Engine engine(kernels, options, clock);
  Events events(clock);
  Simulation simulation(events, {seed, random.uniform() * 2, random.uniform() * 5});
  simulation.add(engine);
  const PlanHandle plan = engine.load(std::make_shared<Plan>(graph.plan), graph.sources);
  Result result;
  const int64_t first = random.below(100);
  Interpreter expected(engine.plan(plan), kernels, graph.sources, first);
  simulation.expect(plan, expected);
  simulation.fill(plan, graph.plan, engine.registers(plan));
  simulation.make(mischief);
  engine.start(plan, first, 3);
  result.wrong = simulation.run();
  if (!result.wrong) {
    engine.start(plan, first + 3, 4);
    result.wrong = simulation.run();
  }
  result.crossed = simulation.mischief() == Mischief::none;
  if (const std::optional<Message>& message = simulation.victim()) {
    const std::string version = "version " + std::to_string(message->version) + " of register '" +
                                graph.plan.reg(RegisterId(message->reg)).name + "'";
    result.victim = message->kind == MessageKind::ready ? version : "the word that " + version + " is no longer read";
  }
  if (!result.wrong && mischief == Mischief::none) {
    simulation.settle();
    const int64_t again = first + 50;
    Interpreter afresh(engine.plan(plan), kernels, graph.sources, again);
    simulation.expect(plan, afresh);
    simulation.fill(plan, graph.plan, engine.registers(plan));
    engine.start(plan, again, 2);
    result.wrong = simulation.run();
  }
  result.firings = simulation.firings();
  return result;
}

TEST(Simulation, EveryValueOfARandomGraphEqualsTheInterpreters) {
  if (const char* seed = std::getenv("TROUPE_SEED")) {
    const SampleGraph graph = sample_graph(std::strtoull(seed, nullptr, 10), {.hesitant_sources = true});
    EXPECT_EQ(simulate(std::strtoull(seed, nullptr, 10), graph).wrong, std::nullopt) << to_text(graph.plan);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  int64_t firings = 0;
  int reuses = 0;
  uint64_t seed = 0;
  for (; seed < 3000; ++seed) {
    const SampleGraph graph = sample_graph(seed, {.hesitant_sources = true});
    const Result result = simulate(seed, graph);
    ASSERT_EQ(result.wrong, std::nullopt) << "TROUPE_SEED=" << seed;
    firings += result.firings;
    reuses += graph.reuses_bytes;
    if (std::chrono::steady_clock::now() - start > std::chrono::seconds(8)) break;
  }
  EXPECT_GT(reuses, static_cast<int>(seed / 20));
  RecordProperty("graphs", static_cast<int>(seed));
  std::printf("%d graphs, %d of them reuse bytes, %lld firings\n", static_cast<int>(seed), reuses,
              static_cast<long long>(firings));
}

// What a protocol error does: a wrong value, an input that changes while it is read, a refused message or a stall.
int caught(Mischief mischief, int* done) {
  int caught = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    const Result result = simulate(seed, graph, mischief);
    *done += result.crossed;
    if (!result.crossed) {
      EXPECT_EQ(result.wrong, std::nullopt) << seed;
    }
    caught += result.wrong.has_value();
  }
  return caught;
}

TEST(Simulation, CatchesAMessageThatIsLost) {
  int done = 0;
  // The last messages to a task are of no consequence when it does not fire again.
  EXPECT_GT(caught(Mischief::lose, &done), done * 9 / 10);
  EXPECT_GT(done, 100);
}

TEST(Simulation, AStallIsPutDownToTheMessageThatWasLost) {
  int stalls = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const Result result = simulate(seed, sample_graph(seed), Mischief::lose);
    if (!result.wrong || !result.wrong->starts_with("no task of plan")) continue;  // or a later one is out of order
    ++stalls;
    EXPECT_NE(result.wrong->find("; what should have arrived is " + result.victim + ", sent "), std::string::npos)
        << "seed " << seed << ", " << result.victim << ": " << *result.wrong;
  }
  EXPECT_GT(stalls, 50);
}

TEST(Simulation, CatchesEveryMessageThatArrivesTwice) {
  int done = 0;
  EXPECT_GT(caught(Mischief::repeat, &done), done * 9 / 10);
  EXPECT_GT(done, 100);
}

TEST(Simulation, CatchesASlotThatIsFreedEarly) {
  int done = 0;
  EXPECT_GT(caught(Mischief::free_early, &done), done * 9 / 10);
  EXPECT_GT(done, 100);
}

TEST(Simulation, CatchesRegistersThatShareBytesWithoutCredits) {
  int shared = 0;
  int caught = 0;
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    const SampleGraph graph = sample_graph(seed, {.guard_reuse = false});
    if (!graph.reuses_bytes) continue;
    ++shared;
    caught += simulate(seed, graph).wrong.has_value();
  }
  EXPECT_GT(shared, 50);
  EXPECT_GT(caught, shared / 4);  // the others are kept apart by their streams' order
}

TEST(Simulation, ReplaysFromItsSeed) {
  for (uint64_t seed : {7, 11, 42}) {
    EXPECT_EQ(sample_graph(seed).plan, sample_graph(seed).plan);
    const SampleGraph graph = sample_graph(seed);
    EXPECT_EQ(simulate(seed, graph, Mischief::lose).wrong, simulate(seed, graph, Mischief::lose).wrong);
  }
}

}  // namespace
}  // namespace troupe
