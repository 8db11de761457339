// What a stall is put down to, and who is said to wait, over processes of which the test says where they stand.

#include "actors/engine/stall.h"

#include <gtest/gtest.h>

#include "actors/engine/engine.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "runtime/base/clock.h"

namespace troupe {
namespace {

// "stage0" on cpu:0 .. one after another through devices, each of its own process; each has "first" and "second" before.
struct Line {
  explicit Line(int stages) {
    for (int s = 0; s < stages; ++s) {
      const std::string number = std::to_string(s);
      const StreamId stream = builder.stream(builder.device("cpu:" + number), "s");
      first.push_back(builder.task(stream, "first" + number, "mix"));
      stage.push_back(builder.task(stream, "stage" + number, "mix"));
      builder.at(stage.back()).line = {"/home/me/model.py", 10 + s};
      if (s > 0) builder.read(stage.back(), handed.back());
      handed.push_back(builder.output(stage.back(), {.name = "y" + number, .slots = 2}));
      processes.push_back({"worker " + number, 5.0 + s, ""});
    }
    life.emplace(std::make_shared<const Plan>(builder.finish()), PlanHandle(0));
    life->begin(1, 100);
  }
  // The stream of this stage stands before "stage", and lacks this.
  void waits(int s, int64_t step, std::vector<Lack> lacks) {
    standings.push_back(
        {StreamId(s), Standing::State::head, false, stage[static_cast<size_t>(s)], step, 1, std::move(lacks)});
  }
  void stands(int s, Standing::State state, TaskId task, int64_t step, int64_t done) {
    standings.push_back({StreamId(s), state, false, task, step, done, {}});
  }
  Lack version(int s, int64_t version) const {
    return {stage[static_cast<size_t>(s)], handed[static_cast<size_t>(s)], version, false};
  }
  Lack room(int s, int64_t version) const {
    return {stage[static_cast<size_t>(s) + 1], handed[static_cast<size_t>(s)], version, true};
  }
  Stall stall() const {
    StallScene scene;
    scene.life = &*life;
    scene.quiet_s = 5;
    scene.processes = processes;
    scene.process_of = [](DeviceId device) { return device.value; };
    scene.standings = standings;
    scene.suspect = suspect;
    return explain_stall(scene);
  }
  PlanBuilder builder;
  std::vector<TaskId> first;
  std::vector<TaskId> stage;
  std::vector<RegisterId> handed;
  std::optional<PlanLife> life;
  std::vector<StallProcess> processes;
  std::vector<Standing> standings;
  std::optional<int> suspect;
};

TEST(Stall, TheKernelThatRunsIsNamedFirstThenWhoWaits) {
  Line line(4);
  line.waits(3, 102, {line.version(2, 2)});
  line.waits(2, 102, {line.version(1, 2)});
  line.stands(1, Standing::State::kernel, line.first[1], 0, 0);
  line.waits(0, 104, {line.room(0, 2)});
  const Stall stall = line.stall();
  EXPECT_EQ(stall.end, WaitEnd::kernel);
  EXPECT_EQ(
      stall.fault.what,
      "no task of plan 'test' has fired for 5.0 s; the one that should have moved is 'first1' on cpu:1 of worker 1: "
      "its kernel has not ended for 6.0 s; 3 streams wait for it:\n"
      "  'stage2' on cpu:2 of worker 2, step 102, waits for version 2 of register 'y1' from 'stage1' on cpu:1 of "
      "worker 1 (its turn comes after 'first1')\n"
      "  'stage3' on cpu:3 of worker 3, step 102, waits for version 2 of register 'y2' from 'stage2' on cpu:2 of "
      "worker 2");
  EXPECT_EQ(stall.fault.task, "first1");
  EXPECT_EQ(stall.fault.device, "cpu:1");
  EXPECT_EQ(stall.fault.peer, "");
}

TEST(Stall, AMessageThatWasSentAndDidNotComeIsNamedWithBothItsEnds) {
  Line line(3);
  line.waits(2, 103, {line.version(1, 2)});  // has fired three times: versions 0 to 2
  line.waits(1, 103, {line.version(0, 3)});
  line.stands(0, Standing::State::limit, line.first[0], 103, 0);
  Stall stall = line.stall();
  EXPECT_EQ(stall.end, WaitEnd::link);
  const std::string start = "no task of plan 'test' has fired for 5.0 s; what should have arrived is ";
  EXPECT_TRUE(stall.fault.what.starts_with(
      start +
      "version 2 of register 'y1', sent 6.0 s ago or earlier by 'stage1' on cpu:1 of worker 1 to 'stage2' on "
      "cpu:2 of worker 2\n  'stage2' on cpu:2 of worker 2, step 103, waits for version 2"))
      << stall.fault.what;
  EXPECT_EQ(stall.fault.task, "stage2");
  EXPECT_EQ(stall.fault.peer, "stage1");

  line.standings[0] = {StreamId(2), Standing::State::limit, false, line.first[2], 104, 0, {}};
  line.standings[2] = {StreamId(0), Standing::State::head, false, line.first[0], 103, 0, {line.room(0, 1)}};
  stall = line.stall();
  EXPECT_EQ(stall.end, WaitEnd::link);
  EXPECT_TRUE(stall.fault.what.starts_with(start + "the word that version 1 of register 'y0' is no longer read, sent "
                                                   "6.0 s ago or earlier by 'stage1' on cpu:1 of worker 1 to 'first0'"))
      << stall.fault.what;

  line.standings[1].step = 102;  // it has read versions 0 and 1 only ...
  line.standings[2].lacks = {line.room(0, 2)};
  EXPECT_EQ(line.stall().end, WaitEnd::cycle);  // ... so that each waits for the other
  line.standings[1].lacks = {line.version(0, 2)};
  EXPECT_EQ(line.stall().end, WaitEnd::link);
}

TEST(Stall, AProcessThatDoesNotSayWhereItStandsIsNamedWithTheTaskThatIsWaitedFor) {
  Line line(3);
  line.processes[1].absent = "does not answer";
  line.waits(2, 102, {line.version(1, 2)});
  line.waits(0, 104, {line.room(0, 2)});
  const Stall stall = line.stall();
  EXPECT_EQ(stall.end, WaitEnd::process);
  EXPECT_TRUE(stall.fault.what.find(
                  "the one that should have moved is 'stage1' on cpu:1 of worker 1 (model.py:11): this process "
                  "does not answer; 2 streams wait for it:\n") != std::string::npos)
      << stall.fault.what;
  line.suspect = 1;
  EXPECT_EQ(line.stall().end, WaitEnd::process);
  line.suspect = 2;
  EXPECT_EQ(line.stall().end, WaitEnd::nothing);
}

TEST(Stall, ATaskThatLacksNothingOrHasNoDataOrNoOrdersIsNamed) {
  const std::pair<Standing::State, std::string> cases[] = {
      {Standing::State::turn, ", step 102: it lacks nothing, but its executor has not run it for 5.0 s"},
      {Standing::State::source, ", step 102: its source 'mix' has had no data for 5.0 s"},
      {Standing::State::limit, ", step 102: it has done all steps that it was told to"},
  };
  for (const auto& [state, why] : cases) {
    Line line(2);
    line.waits(1, 102, {line.version(0, 2)});
    line.stands(0, state, line.stage[0], 102, 1);
    EXPECT_NE(line.stall().fault.what.find("'stage0' on cpu:0 of worker 0 (model.py:10)" + why), std::string::npos)
        << line.stall().fault.what;
  }
}

TEST(Stall, TasksThatWaitForEachOtherAreListedAround) {
  Line line(3);
  line.waits(1, 100, {line.version(0, 0)});
  line.waits(0, 100, {line.room(0, 0)});
  line.waits(2, 100, {line.version(1, 0)});
  const Stall stall = line.stall();
  EXPECT_EQ(stall.end, WaitEnd::cycle);
  EXPECT_NE(stall.fault.what.find("these wait for each other: 'stage0' on cpu:0 of worker 0 -> 'stage1' on cpu:1 of "
                                  "worker 1 -> 'stage0' on cpu:0 of worker 0\n  'stage0'"),
            std::string::npos)
      << stall.fault.what;
}

TEST(Stall, OfSeveralEndsTheOneThatMostWaitForIsNamed) {
  Line line(5);
  line.stands(0, Standing::State::kernel, line.first[0], 0, 0);
  line.waits(1, 100, {line.version(0, 0)});
  line.stands(2, Standing::State::turn, line.first[2], 100, 0);
  line.waits(3, 100, {line.version(2, 0)});
  line.waits(4, 100, {line.version(3, 0)});
  const Stall stall = line.stall();
  EXPECT_EQ(stall.fault.task, "first2");
  EXPECT_TRUE(stall.waits.starts_with("\n  'stage3' on cpu:3 ")) << stall.waits;
  EXPECT_NE(stall.waits.find("\n  'stage4' on cpu:4 "), std::string::npos) << stall.waits;
  EXPECT_EQ(std::count(stall.waits.begin(), stall.waits.end(), '\n'), 2);
}

TEST(Stall, StreamsThatReadAheadAreNoReasonByThemselves) {
  Line line(2);
  line.waits(0, 100, {line.room(0, 0)});
  line.standings.back().runs_ahead = true;
  line.stands(1, Standing::State::limit, line.first[1], 100, 0);
  EXPECT_EQ(line.stall().fault.what, "no task of plan 'test' has fired for 5.0 s");
  EXPECT_EQ(explain_stall({}).fault.what, "no plan runs");
}

TEST(Stall, ALongChainIsToldAtItsEnds) {
  Line line(40);
  line.stands(0, Standing::State::kernel, line.stage[0], 0, 0);
  for (int s = 1; s < 40; ++s) line.waits(s, 100, {line.version(s - 1, 0)});
  const Stall stall = line.stall();
  const std::string& what = stall.fault.what;
  EXPECT_EQ(std::count(what.begin(), what.end(), '\n'), 12);
  EXPECT_NE(what.find("39 streams wait for it:\n  'stage1'"), std::string::npos) << what;
  EXPECT_NE(what.find("\n  'stage8' "), std::string::npos) << what;
  EXPECT_NE(what.find("\n  28 more, and behind them\n  'stage37' "), std::string::npos) << what;
  EXPECT_NE(what.find("\n  'stage39' "), std::string::npos) << what;
}

// How often each task of a stream has fired is known from where the stream stands: three rounds, an accumulator, a
// parameter that is held.
TEST(Stall, RatesAreReckonedWith) {
  PlanBuilder builder("rates", 3);
  const StreamId a = builder.stream(builder.device("cpu:0"), "a");
  const StreamId b = builder.stream(builder.device("cpu:1"), "b");
  const TaskId piece = builder.task(a, "piece", "mix");
  const TaskId sum = builder.task(a, "sum", "mix");
  const TaskId update = builder.task(b, "update", "mix", 1);
  const RegisterId made = builder.output(piece, {.name = "made", .slots = 2});
  builder.read(sum, made);
  const RegisterId total = builder.output(sum, {.name = "total", .every = 3});
  builder.read(update, total);
  const RegisterId weight = builder.output(update, {.name = "weight", .initial = 1});
  builder.read(piece, weight, 3);
  builder.segment(a, 3, {piece, sum});
  PlanLife life(std::make_shared<const Plan>(builder.finish()), PlanHandle(0));
  life.begin(1, 7);
  const auto end = [&](int64_t step, int64_t done, const Lack& lack) {
    const std::vector<Standing> standings = {
        {a, Standing::State::turn, false, piece, step, done, {}},
        {b, Standing::State::head, false, update, step, 0, {lack}},
    };
    return WaitGraph(life, standings, [](DeviceId device) { return device.value; }).verdict().end;
  };
  for (int64_t step = 7; step < 10; ++step) {
    for (int64_t done = 0; done < 6; ++done) {
      const int64_t totals = step - 7;  // made by the sixth firing of a step
      EXPECT_EQ(end(step, done, {sum, total, totals, false}), WaitEnd::turn) << step << " " << done;
      if (totals > 0) {
        EXPECT_EQ(end(step, done, {sum, total, totals - 1, false}), WaitEnd::link) << step << " " << done;
      }
      const int64_t freed = step - 7 + (done >= 5 ? 1 : 0);  // by the third firing of "piece", the step's fifth
      EXPECT_EQ(end(step, done, {piece, weight, freed, true}), WaitEnd::turn) << step << " " << done;
      if (freed > 0) {
        EXPECT_EQ(end(step, done, {piece, weight, freed - 1, true}), WaitEnd::link) << step << " " << done;
      }
    }
  }
}

// What a process says grows with its streams alone.
TEST(Stall, WhatIsSaidOfAPlanWithManyTasksIsShort) {
  constexpr int kStreams = 4;
  constexpr int kTasks = 25'000;  // of each
  PlanBuilder builder;
  std::vector<std::vector<TaskId>> tasks(kStreams);
  for (int s = 0; s < kStreams; ++s) {
    const StreamId stream = builder.stream(builder.device("cpu:" + std::to_string(s)), "s");
    for (int t = 0; t < kTasks; ++t) {
      tasks[static_cast<size_t>(s)].push_back(builder.task(stream, std::to_string(s) + "." + std::to_string(t), "mix"));
    }
  }
  const TaskId waits = tasks[0].front();  // for all that the others make
  for (int t = 0; t < 100; ++t) {
    builder.read(waits, builder.output(tasks[1][static_cast<size_t>(t)], {.name = "r" + std::to_string(t)}));
  }
  const KernelTable kernels = sample_kernels();
  const SimulatedClock clock;
  EngineOptions options;
  options.executors = kStreams;
  Engine engine(kernels, options, clock);
  const PlanHandle plan = engine.load(std::make_shared<const Plan>(builder.finish()));
  EXPECT_EQ(engine.standings().handle, -1);
  engine.start(plan, 5, 1);
  const std::vector<Standing> standings = engine.standings().streams;
  ASSERT_EQ(standings.size(), static_cast<size_t>(kStreams));
  size_t lacks = 0;
  for (const Standing& standing : standings) lacks += standing.lacks.size();
  EXPECT_EQ(lacks, kMostLacks);
  const Fault fault = engine.stall();
  EXPECT_EQ(fault.task, "1.0") << fault.what;
  EXPECT_NE(fault.what.find("it lacks nothing, but its executor has not run it"), std::string::npos) << fault.what;
}

TEST(Stall, WhoeverHasDoneAllStepsIsNotWaitedFor) {
  PlanBuilder builder;
  builder.task(builder.stream(builder.device("cpu:0"), "s"), "a", "mix");
  const KernelTable kernels = sample_kernels();
  const SimulatedClock clock;
  EngineOptions options;
  options.spin_s = 0;
  Engine engine(kernels, options, clock);
  const PlanHandle plan = engine.load(std::make_shared<const Plan>(builder.finish()));
  engine.start(plan, 5, 2);
  EXPECT_EQ(engine.standings().streams.front().state, Standing::State::turn);
  engine.executor(0).run(1);
  ASSERT_FALSE(engine.running());
  EXPECT_EQ(engine.standings().streams.front().state, Standing::State::limit);
  EXPECT_EQ(engine.standings().streams.front().step, 7);
  EXPECT_EQ(engine.stall().task, "");
}

}  // namespace
}  // namespace troupe
