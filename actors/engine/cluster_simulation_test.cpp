// Every fault in every phase of a run over three processes, on one host and on three, over a number of seeds: the driver
// ends with the interpreter's values, or says in time who is to blame; it never waits for ever, and can always be shut
// down.

#include "actors/engine/cluster_simulation.h"

#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <tuple>

#include "actors/engine/cluster_scenario.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {

void PrintTo(const Cell& cell, std::ostream* out) { *out << cell.name(); }

namespace {

constexpr double kHeartbeat = Scenario::kHeartbeat;
constexpr double kPatience = Scenario::kPatience;
constexpr double kCommandPatience = 60;  // the driver's, for an answer
constexpr double kNextPatience = 10;     // the driver's, for the next one to join
constexpr double kFarewell = 2;          // the driver's, for those who leave
constexpr double kLinkPatience = 7;      // for a link that carries nothing in one direction
constexpr double kPrompt = 0.5;          // messages, kernels that run, the driver's looks
constexpr uint64_t kSeeds = 6;
constexpr uint64_t kSeedsOverHosts = 3;

// At the end of a step fewer wait for the one that is gone.
uint64_t seeds(const Cell& cell) { return cell.hosts && cell.phase != Phase::kUpdate ? kSeedsOverHosts : kSeeds; }

void end(Scenario& run, double patience) {
  const Scenario::End end = run.end();
  EXPECT_LE(end.shutdown_s, patience);
  EXPECT_LE(end.dismiss_s, kFarewell + kPrompt);
  EXPECT_EQ(run.wrong(), std::nullopt);
}

TEST(ClusterSimulation, WithoutFaultsEndsWithTheInterpretersValues) {
  for (bool hosts : {false, true}) {
    int64_t crossed = 0;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Scenario run({.hosts = hosts}, {.seed = seed});
      run.script();
      EXPECT_EQ(run.told(), std::nullopt) << seed;
      EXPECT_GT(run.cluster().simulation().firings(), 300);
      const QueueNetworks& networks = run.cluster().networks();
      for (size_t from = 0; from < networks.count(); ++from) {
        for (size_t to = 0; to < networks.count(); ++to) crossed += networks.bytes(from, to);
      }
      end(run, kPrompt);
      for (int p = 0; p < run.processes(); ++p) EXPECT_TRUE(run.cluster().has_left(p));
    }
    EXPECT_EQ(crossed > 10'000, hosts) << crossed;
  }
}

TEST(ClusterSimulation, ReplaysFromItsSeed) {
  const auto log = [](uint64_t seed, bool hosts) {
    Scenario run({Trouble::kStopAndWake, Phase::kBackward, hosts}, {.seed = seed});
    run.script();
    run.end();
    return std::tuple(run.cluster().events().log(), run.cluster().events().count(), run.told());
  };
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const bool hosts = seed % 2 == 1;
    EXPECT_EQ(log(seed, hosts), log(seed, hosts));
    EXPECT_NE(log(seed, hosts), log(seed + 1, hosts));
  }
}

// What a fence is for: without it, what a life that has ended had under way is met by the next.
TEST(ClusterSimulation, AFenceThatDoesNothingShows) {
  int shown = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Scenario run({.hosts = true}, {.seed = seed, .control_s = 0.001, .network_s = 0.1});
    run.cluster().sends = [](int, Command& command) {
      if (std::holds_alternative<Fence>(command)) command = GetTime();
    };
    run.script();
    shown += run.told() || run.wrong();
    run.end();
  }
  EXPECT_GE(shown, 10);
}

TEST(ClusterSimulation, AFenceKeepsLivesApartHoweverSlowTheNetwork) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Scenario run({.hosts = true}, {.seed = seed, .control_s = 0.001, .network_s = 0.1});
    run.script();
    EXPECT_EQ(run.told(), std::nullopt) << seed;
    end(run, 2 * kPrompt);
  }
}

// 20 MB that one host reads of another before the first firing of a plan, where that takes so long.
std::string restart_over(double seconds) {
  constexpr int64_t kBytes = 20'000'000;
  PlanBuilder builder;
  const TaskId reader = builder.task(builder.stream(builder.device("cpu:0"), "s"), "reader", "mix");
  builder.read(reader, builder.constant(builder.device("cpu:1"), {.name = "table", .elements = kBytes / 8}));
  const Plan plan = builder.finish();
  SimulatedClock clock;
  const KernelTable kernels = sample_kernels();
  ClusterSimulation cluster(clock, kernels, {});
  Driver driver(cluster, {2, "", kHeartbeat}, clock);
  for (const char* host : {"", "elsewhere"}) {
    cluster.add_process({1, 1}, 0, [&](Join& join) { join.memory = host; });
  }
  cluster.networks().seconds_per_byte = seconds / static_cast<double>(kBytes);
  try {
    driver.gather(1, 1);
    Interpreter expected(plan, kernels, {}, 0);
    const PlanHandle handle = driver.load(std::make_shared<const Plan>(plan), {});
    cluster.simulation().expect(handle, expected);
    driver.start(handle, 0, 1);
    while (!driver.wait_for(1, 10)) {
    }
    return cluster.simulation().wrong().value_or("");
  } catch (const FaultError& error) {
    return error.what();
  }
}

TEST(ClusterSimulation, TheDeadlineOfACommandGrowsWithTheBytesThatItMoves) {
  EXPECT_EQ(restart_over(kCommandPatience + 3), "");
  EXPECT_NE(restart_over(kCommandPatience + 5).find("no answer to 'restart' from worker 0"), std::string::npos);
}

class Table : public testing::TestWithParam<Cell> {};

// Whether the driver has to be told of it. What comes when everything is over may go unnoticed, and so may a process
// that only joins late, and a message that nothing waits for before the plan begins again.
bool must_be_told(const Cell& cell) {
  if (cell.is_harmless() || cell.trouble == Trouble::kMessageLost) return false;
  if (cell.trouble == Trouble::kStopAndWake && cell.phase == Phase::kJoin) return false;
  return cell.phase <= Phase::kUnload;
}

// How long it may take, from the moment on.
double longest(const Cell& cell, const Scenario& run) {
  switch (cell.trouble) {
    case Trouble::kMessageLost:
      return 2 * kPatience;
    case Trouble::kControlLost:  // a command that nothing follows
      return kCommandPatience + 4 * kPrompt;
    case Trouble::kKernelHangs:  // it cannot be stopped
      return kPatience + kCommandPatience + kPrompt;
    case Trouble::kLinkCut:  // until something needs it
      return 4 * kPrompt;
    case Trouble::kLinkSilent:
    case Trouble::kLinkOneWay:
    case Trouble::kPacketLost:
      return kLinkPatience;
    default:
      break;
  }
  const bool joined = !run.name(run.victim()).empty();
  if (cell.phase == Phase::kJoin && !(joined && cell.trouble == Trouble::kCrash)) return kNextPatience + kPrompt;
  const bool silent = cell.is_gone() && cell.trouble != Trouble::kCrash;
  return kPrompt + (silent ? kHeartbeat : 0);
}

// Whether it is over then: nothing can begin again.
bool stays_broken(const Cell& cell) {
  if (cell.trouble == Trouble::kCommandFails) {
    return cell.phase == Phase::kWelcome || cell.phase == Phase::kLoad || cell.phase == Phase::kObserve ||
           cell.phase == Phase::kUnload;
  }
  return cell.is_gone() || cell.is_link() || cell.trouble == Trouble::kKernelHangs ||
         cell.trouble == Trouble::kPacketLost || cell.trouble == Trouble::kControlLost;
}

// Whatever is asked of the driver, it says why the run is over.
void expect_over(const Cell& cell, Scenario& run) {
  Driver& driver = run.driver();
  const PlanHandle plan = run.train();
  std::vector<std::function<void()>> calls = {[&] { driver.load(std::make_shared<const Plan>(), {}); }};
  if (cell.phase == Phase::kWelcome) calls.push_back([&] { driver.gather(1, 1); });
  if (plan.valid()) {
    calls.push_back([&] { driver.unload(plan); });
    calls.push_back([&] { driver.set_sources(plan, {}); });
    calls.push_back([&] { driver.start(plan, 0, 1); });
    calls.push_back([&] { driver.observe(plan, {}); });
    calls.push_back([&] { driver.observations(plan); });
    calls.push_back([&] { driver.write(plan, driver.plan(plan).variables.front(), {}); });
  }
  for (const auto& call : calls) {
    run.attempt(call);
    EXPECT_NE(run.told().value_or("").find("the run is over: "), std::string::npos) << &call - calls.data();
  }
}

void check_names(const Cell& cell, const Scenario& run) {
  const std::string& told = *run.told();
  const auto names = [&](int process) { return told.find(run.name(process)) != std::string::npos; };
  if (cell.is_kernel()) {
    ASSERT_TRUE(run.fault().has_value());
    EXPECT_EQ(run.fault()->task, run.task()) << told;
  }
  if (cell.trouble == Trouble::kKernelFails || cell.trouble == Trouble::kKernelThrows) {
    EXPECT_NE(told.find("process 10"), std::string::npos) << told;
    const bool throws = cell.trouble == Trouble::kKernelThrows;
    EXPECT_NE(told.find(throws ? "no scratch memory is left" : "a value is not finite"), std::string::npos) << told;
  }
  if (cell.trouble == Trouble::kMessageLost) {
    const bool missed = told.find("what should have arrived is ") != std::string::npos;
    EXPECT_TRUE(missed || told.find("refused: a version before it has not come") != std::string::npos) << told;
  }
  if (cell.is_link() || cell.trouble == Trouble::kPacketLost) {
    EXPECT_TRUE(names(run.link().first) && names(run.link().second)) << told;  // the driver has the empty name
    ASSERT_TRUE(run.fault().has_value()) << told;
    const int owner = run.owner(run.fault()->device);
    EXPECT_TRUE(owner >= 0 && (owner == run.link().first || owner == run.link().second)) << told;
  }
  if ((cell.is_gone() || cell.is_link()) && run.fault() && !run.fault()->task.empty()) {
    EXPECT_EQ(run.device_of(run.fault()->task), run.fault()->device) << told;
    EXPECT_NE(told.find("waits for"), std::string::npos) << told;
  }
  if (cell.is_gone() && run.waits_for_victim()) {
    EXPECT_TRUE(run.fault() && !run.fault()->task.empty()) << told;
  }
  if (!cell.is_gone() && cell.trouble != Trouble::kCommandFails && cell.trouble != Trouble::kControlLost) return;
  if (run.name(run.victim()).empty()) {
    EXPECT_NE(told.find("workers have joined"), std::string::npos) << told;
    EXPECT_EQ(told.find("host" + std::to_string(run.victim())), std::string::npos) << told;
  } else {
    EXPECT_TRUE(names(run.victim())) << told;
    EXPECT_TRUE(run.fault() || cell.trouble == Trouble::kCommandFails) << told;
    if (run.fault() && cell.is_gone()) {
      EXPECT_EQ(run.owner(run.fault()->device), run.victim()) << told;
    }
  }
}

TEST_P(Table, IsToldInTimeAndEnds) {
  const Cell cell = GetParam();
  int named = 0;
  for (uint64_t seed = 0; seed < seeds(cell); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Scenario run(cell, {.seed = mix64(seed, static_cast<uint64_t>(cell.phase))});
    run.script();
    if (cell.is_harmless()) {
      EXPECT_EQ(run.told(), std::nullopt);
    }
    if (must_be_told(cell)) {
      ASSERT_TRUE(run.told().has_value());
    }
    if (run.told()) {
      ASSERT_TRUE(run.happened()) << *run.told();
      EXPECT_LE(run.took(), longest(cell, run)) << *run.told();
      check_names(cell, run);
      named += run.fault() && !run.fault()->task.empty() && run.told()->find("waits for") != std::string::npos;
      const bool divided = cell.trouble == Trouble::kCommandFails && cell.phase == Phase::kSources;
      run.attempt([&] { run.begin_again(4); });
      EXPECT_EQ(run.told().has_value(), stays_broken(cell) || divided) << run.told().value_or("");
      if (cell.trouble == Trouble::kCommandFails && stays_broken(cell)) expect_over(cell, run);
      if (divided) {  // until all have the same
        run.attempt([&] {
          run.set_sources(2);
          run.begin_again(4);
        });
        EXPECT_EQ(run.told(), std::nullopt);
      }
    }
    const bool hangs = cell.trouble == Trouble::kKernelHangs || cell.trouble == Trouble::kControlLost;
    const bool waits_for_link = cell.is_link() || cell.trouble == Trouble::kPacketLost;
    end(run, hangs ? kCommandPatience + kPrompt : (waits_for_link ? kLinkPatience : kHeartbeat) + kPrompt);
    EXPECT_TRUE(run.happened());
  }
  // Where a step runs, some task of another process waits for one that is gone, unless it has just ended.
  if ((cell.is_gone() || cell.is_link()) && cell.phase >= Phase::kForward && cell.phase <= Phase::kUpdate) {
    EXPECT_GE(named, 1);
  }
}

// What can go wrong in which phases: of a run on one host, and over three.
std::vector<Cell> cells() {
  std::vector<Cell> all;
  const auto add = [&](std::initializer_list<Trouble> troubles, std::initializer_list<Phase> phases, bool near) {
    for (bool hosts : {false, true}) {
      if (!hosts && !near) continue;
      for (Trouble trouble : troubles) {
        for (Phase phase : phases) all.push_back({trouble, phase, hosts});
      }
    }
  };
  using enum Phase;
  using T = Trouble;
  const auto connected = {kLoad,   kSources,    kWrite, kRestart, kGo,         kForward, kBackward, kCollective,
                          kUpdate, kEvaluation, kPause, kObserve, kCheckpoint, kStop,    kUnload,   kShutdown};
  const auto kernels = {kForward, kBackward, kCollective, kUpdate, kEvaluation};
  const auto ends = {kJoin, kWelcome, kDismiss};
  for (const auto& phases : {ends, connected}) {
    add({T::kCrash, T::kStop, T::kStopAndWake, T::kNap, T::kCut, T::kRepeat, T::kOvertake, T::kLate}, phases, true);
  }
  add({T::kControlLost}, connected, true);
  add({T::kLinkCut, T::kLinkSilent, T::kLinkOneWay, T::kPacketLost}, connected, false);
  add({T::kKernelFails, T::kKernelThrows, T::kKernelHangs, T::kMessageLost}, kernels, true);
  add({T::kCommandFails}, {kLoad, kSources, kRestart, kGo, kObserve, kUnload}, true);
  all.push_back({T::kCommandFails, kWelcome});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Faults, Table, testing::ValuesIn(cells()), [](const auto& cell) { return cell.param.name(); });

}  // namespace
}  // namespace troupe
