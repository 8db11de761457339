// Every fault in every phase of a run over three processes, over a number of seeds: the driver ends with the
// interpreter's values, or says in time who is to blame; it never waits for ever, and can always be shut down.

#include "actors/engine/cluster_simulation.h"

#include <gtest/gtest.h>

#include <ostream>
#include <tuple>

#include "actors/engine/cluster_scenario.h"

namespace troupe {

void PrintTo(const Cell& cell, std::ostream* out) { *out << cell.name(); }

namespace {

constexpr double kHeartbeat = Scenario::kHeartbeat;
constexpr double kPatience = Scenario::kPatience;
constexpr double kCommandPatience = 60;  // the driver's, for an answer
constexpr double kNextPatience = 10;     // the driver's, for the next one to join
constexpr double kFarewell = 2;          // the driver's, for those who leave
constexpr double kPrompt = 0.5;          // messages, kernels that run, the driver's looks
constexpr uint64_t kSeeds = 6;

void end(Scenario& run, double patience) {
  const Scenario::End end = run.end();
  EXPECT_LE(end.shutdown_s, patience);
  EXPECT_LE(end.dismiss_s, kFarewell + kPrompt);
  EXPECT_EQ(run.wrong(), std::nullopt);
}

TEST(ClusterSimulation, WithoutFaultsEndsWithTheInterpretersValues) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Scenario run(Cell(), {.seed = seed});
    run.script();
    EXPECT_EQ(run.told(), std::nullopt) << seed;
    EXPECT_GT(run.cluster().simulation().firings(), 300);
    end(run, kPrompt);
    for (int p = 0; p < run.processes(); ++p) EXPECT_TRUE(run.cluster().has_left(p));
  }
}

TEST(ClusterSimulation, ReplaysFromItsSeed) {
  const auto log = [](uint64_t seed) {
    Scenario run({Trouble::kStopAndWake, Phase::kBackward}, {.seed = seed});
    run.script();
    run.end();
    return std::tuple(run.cluster().events().log(), run.cluster().events().count(), run.told());
  };
  for (uint64_t seed = 0; seed < 4; ++seed) {
    EXPECT_EQ(log(seed), log(seed));
    EXPECT_NE(log(seed), log(seed + 1));
  }
}

class Table : public testing::TestWithParam<Cell> {};

// Whether the driver has to be told of it. What comes when everything is over may go unnoticed, and so may a process
// that only joins late, and a message that nothing waits for before the plan begins again.
bool must_be_told(const Cell& cell) {
  if (cell.trouble == Trouble::kNap || cell.trouble == Trouble::kMessageLost) return false;
  if (cell.trouble == Trouble::kStopAndWake && cell.phase == Phase::kJoin) return false;
  return cell.phase < Phase::kUnload;
}

// How long it may take, from the moment on.
double longest(const Cell& cell, const Scenario& run) {
  if (cell.trouble == Trouble::kMessageLost) return 2 * kPatience;
  if (cell.trouble == Trouble::kKernelHangs) return kPatience + kCommandPatience + kPrompt;  // it cannot be stopped
  const bool joined = !run.victim_name().empty();
  if (cell.phase == Phase::kJoin && !(joined && cell.trouble == Trouble::kCrash)) return kNextPatience + kPrompt;
  const bool silent = cell.is_gone() && cell.trouble != Trouble::kCrash;
  return kPrompt + (silent ? kHeartbeat : 0);
}

void check_names(const Cell& cell, const Scenario& run) {
  const std::string& told = *run.told();
  if (cell.trouble == Trouble::kKernelHangs || cell.trouble == Trouble::kKernelFails) {
    ASSERT_TRUE(run.fault().has_value());
    EXPECT_TRUE(run.fault()->task == run.task() || run.fault()->peer == run.task()) << told;
  }
  if (cell.trouble == Trouble::kKernelFails) {
    EXPECT_NE(told.find("process 10"), std::string::npos) << told;
  }
  if (!cell.is_gone() && cell.trouble != Trouble::kCommandFails) return;
  if (run.victim_name().empty()) {
    EXPECT_NE(told.find("workers have joined"), std::string::npos) << told;
    EXPECT_EQ(told.find("host" + std::to_string(run.victim())), std::string::npos) << told;
  } else {
    EXPECT_NE(told.find(run.victim_name()), std::string::npos) << told;
    EXPECT_TRUE(run.fault() || cell.trouble == Trouble::kCommandFails) << told;
    EXPECT_TRUE(!run.fault() || run.fault()->device.starts_with("cpu:")) << told;
  }
}

TEST_P(Table, IsToldInTimeAndEnds) {
  const Cell cell = GetParam();
  int named = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Scenario run(cell, {.seed = mix64(seed, static_cast<uint64_t>(cell.phase))});
    run.script();
    if (cell.trouble == Trouble::kNap) {
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
      run.attempt([&] { cell.is_gone() ? run.driver().start(run.train(), 20, 1) : run.begin_again(4); });
      const bool fails = cell.trouble == Trouble::kCommandFails;
      const bool divided = fails && cell.phase == Phase::kSources;  // until all have the same
      const bool broken = fails && cell.phase == Phase::kLoad;
      const bool hangs = cell.trouble == Trouble::kKernelHangs;
      EXPECT_EQ(run.told().has_value(), cell.is_gone() || hangs || divided || broken);
      if (divided) {
        run.attempt([&] {
          run.set_sources(2);
          run.begin_again(4);
        });
        EXPECT_EQ(run.told(), std::nullopt);
      }
    }
    end(run, cell.trouble == Trouble::kKernelHangs ? kCommandPatience + kPrompt : kHeartbeat + kPrompt);
    EXPECT_TRUE(run.happened());
  }
  // Where a step runs, some task of another process waits for one that is gone, unless it has just ended.
  if (cell.is_gone() && cell.phase >= Phase::kForward && cell.phase <= Phase::kUpdate) {
    EXPECT_GE(named, 1);
  }
}

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (Trouble trouble : {Trouble::kCrash, Trouble::kStop, Trouble::kStopAndWake, Trouble::kNap, Trouble::kCut}) {
    for (int phase = 0; phase < kPhases; ++phase) all.push_back({trouble, static_cast<Phase>(phase)});
  }
  for (Trouble trouble : {Trouble::kKernelFails, Trouble::kKernelHangs, Trouble::kMessageLost}) {
    for (Phase phase : {Phase::kForward, Phase::kBackward, Phase::kCollective, Phase::kUpdate, Phase::kEvaluation}) {
      all.push_back({trouble, phase});
    }
  }
  for (Phase phase : {Phase::kLoad, Phase::kSources, Phase::kRestart, Phase::kGo})
    all.push_back({Trouble::kCommandFails, phase});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Faults, Table, testing::ValuesIn(cells()), [](const auto& cell) { return cell.param.name(); });

}  // namespace
}  // namespace troupe
