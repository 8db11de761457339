// A pipeline over two or three simulated processes in which one thing does not move: the driver names it, where it is, and
// who waits for it from process to process.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "actors/engine/cluster_simulation.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/sample_step.h"

namespace troupe {
namespace {

constexpr double kPatience = 5;

// "read" on cpu:0, then "stage0" .. on a device of each process, each of which hands a register on; or, where the first waits
// for the last, no "read", and nobody can begin.
struct Shape {
  int stages = 2;
  int32_t slots = 2;
  bool around = false;
};
Plan pipeline(const Shape& shape) {
  PlanBuilder builder("train");
  std::vector<TaskId> tasks;
  RegisterId handed;
  for (int s = 0; s < shape.stages; ++s) {
    const std::string number = std::to_string(s);
    const DeviceId device = builder.device("cpu:" + number);
    tasks.push_back(builder.task(builder.stream(device, "compute"), "stage" + number, "mix"));
    builder.at(tasks.back()).line = {"/home/me/model.py", 41 + s};
    if (s == 0 && !shape.around) {
      const TaskId source = builder.source(builder.stream(device, "read", true), "read", "tokens");
      handed = builder.output(source, {.name = "x", .elements = 4, .arena = ArenaKind::io, .slots = 3});
    }
    if (handed.valid()) builder.read(tasks.back(), handed);
    handed = builder.output(tasks.back(), {.name = "y" + number, .elements = 4, .slots = shape.slots});
  }
  if (shape.around) builder.read(tasks.front(), handed);
  return builder.finish();
}

// A process for each device of the plan.
class SimulatedRun {
 public:
  SimulatedRun(Plan plan, uint64_t seed, int64_t batches = 150, double heartbeat_s = 1)
      : plan_(std::move(plan)),
        feed_(sample_feed(1, batches)),
        cluster_(clock_, kernels_, options(seed)),
        driver_(cluster_, {static_cast<int>(plan_.devices.size()), "secret", heartbeat_s}, clock_) {
    for (int p = 0; p < static_cast<int>(plan_.devices.size()); ++p) cluster_.add_process({1, 1}, 0.5 * p);
    EXPECT_TRUE(driver_.gather(20, 20));
    use(plan_);
  }
  // This plan is the one that runs next.
  void use(const Plan& plan) {
    handle_ = driver_.load(std::make_shared<const Plan>(plan), {});
    const auto reads = [](const PlanTask& task) { return task.kind == TaskKind::source; };
    const bool any = std::any_of(plan.tasks.begin(), plan.tasks.end(), reads);
    if (any) driver_.set_sources(handle_, sources_of(feed_));
    expected_.push_back(std::make_unique<Interpreter>(plan, kernels_, any ? sources_of(feed_) : SourceMap(), 0));
    cluster_.simulation().expect(handle_, *expected_.back());
    cluster_.simulation().fill(handle_, plan, driver_.registers(handle_));
  }
  void steps(int64_t count) {
    driver_.start(handle_, 0, count);
    while (!driver_.wait_for(1, kPatience)) {
    }
  }
  // Begins, and goes on until it fails.
  Fault fault() {
    driver_.start(handle_, 0, 1'000'000);
    try {
      while (!driver_.wait_for(1, kPatience)) {
      }
    } catch (const FaultError& error) {
      return error.fault();
    }
    ADD_FAILURE() << "it went on";
    return {};
  }
  ClusterSimulation& cluster() { return cluster_; }
  Driver& driver() { return driver_; }
  // "'stage1' on cpu:1 of worker 1 (host1, process 101)"
  static std::string place(const std::string& task, int process) {
    const std::string number = std::to_string(process);
    return "'" + task + "' on cpu:" + number + " of worker " + number + " (host" + number + ", process 10" + number +
           ")";
  }

 private:
  static ClusterOptions options(uint64_t seed) {
    ClusterOptions made;
    made.seed = seed;
    made.token = "secret";
    return made;
  }
  const Plan plan_;
  const KernelTable kernels_ = sample_kernels();
  std::shared_ptr<Feed> feed_;
  SimulatedClock clock_;
  ClusterSimulation cluster_;
  Driver driver_;
  PlanHandle handle_;
  std::vector<std::unique_ptr<Interpreter>> expected_;
};

void expect_has(const Fault& fault, const std::string& text) {
  EXPECT_NE(fault.what.find(text), std::string::npos) << text << "\n--- is not in\n" << fault.what;
}

TEST(DriverStall, AKernelThatHangsIsNamedWithWhoWaitsForIt) {
  for (int processes : {2, 3}) {
    for (int hangs = 0; hangs < processes; ++hangs) {
      SimulatedRun run(pipeline({processes}), static_cast<uint64_t>(10 * processes + hangs));
      const std::string task = "stage" + std::to_string(hangs);
      run.cluster().fires = [&, left = 7](int process, const LoadedPlan& plan, const TaskActor& actor) mutable {
        if (plan.plan().task(actor.id()).name != task) return true;
        EXPECT_EQ(process, hangs);
        return --left > 0;
      };
      const Fault fault = run.fault();
      EXPECT_EQ(fault.task, task);
      EXPECT_EQ(fault.device, "cpu:" + std::to_string(hangs));
      EXPECT_EQ(fault.deadline, kPatience);
      expect_has(fault, "no task of plan 'train' has fired for 5.");
      expect_has(fault, "; the one that should have moved is " + SimulatedRun::place(task, hangs) + " (model.py:4" +
                            std::to_string(1 + hangs) + "): its kernel has not ended for ");
      for (int p = hangs + 1; p < processes; ++p) {
        expect_has(fault, "\n  " + SimulatedRun::place("stage" + std::to_string(p), p) +
                              ", step 6, waits for version 6 of register 'y" + std::to_string(p - 1) + "' from " +
                              SimulatedRun::place("stage" + std::to_string(p - 1), p - 1));
      }
      if (hangs == processes - 1) {
        expect_has(fault, "waits for room in its register 'y" + std::to_string(hangs - 1) + "': version 6 is held by " +
                              SimulatedRun::place(task, hangs));
      }
    }
  }
}

TEST(DriverStall, AMessageThatIsLostIsNamedWithBothItsEnds) {
  int ready = 0;
  int freed = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const int processes = seed % 2 == 0 ? 2 : 3;
    SimulatedRun run(pipeline({.stages = processes, .slots = 1}), seed);
    run.cluster().events().at(run.cluster().events().now() + 0.5, 0,
                              [&] { run.cluster().simulation().make(Mischief::lose); });
    const Fault fault = run.fault();
    ASSERT_TRUE(run.cluster().simulation().victim().has_value());
    const Message& lost = *run.cluster().simulation().victim();
    const Plan& plan = run.driver().plan(PlanHandle(0));
    const PlanRegister& reg = plan.reg(RegisterId(lost.reg));
    const std::string to = plan.task(TaskId(lost.task)).name;
    const int there = to.back() - '0';
    const int here = lost.kind == MessageKind::ready ? there - 1 : there + 1;
    const std::string version = "version " + std::to_string(lost.version) + " of register '" + reg.name + "'";
    expect_has(fault,
               "; what should have arrived is " +
                   (lost.kind == MessageKind::ready ? version : "the word that " + version + " is no longer read") +
                   ", sent ");
    expect_has(fault, " ago or earlier by " + SimulatedRun::place("stage" + std::to_string(here), here) + " to " +
                          SimulatedRun::place(to, there));
    EXPECT_EQ(fault.task, to);
    EXPECT_EQ(fault.peer, "stage" + std::to_string(here));
    ++(lost.kind == MessageKind::ready ? ready : freed);
  }
  EXPECT_GT(ready, 0);
  EXPECT_GT(freed, 0);
}

TEST(DriverStall, ASourceWithoutDataIsNamed) {
  for (int processes : {2, 3}) {
    SimulatedRun run(pipeline({processes}), 3, 4);
    const Fault fault = run.fault();
    EXPECT_EQ(fault.task, "read");
    expect_has(fault, "; the one that should have moved is " + SimulatedRun::place("read", 0) +
                          ", step 4: its source 'tokens' has had no data for ");
    expect_has(fault, "\n  " + SimulatedRun::place("stage0", 0) +
                          ", step 4, waits for version 4 of register 'x' from " + SimulatedRun::place("read", 0));
    const int last = processes - 1;
    expect_has(fault, "\n  " + SimulatedRun::place("stage" + std::to_string(last), last) +
                          ", step 4, waits for version 4 of ");
  }
}

TEST(DriverStall, TasksThatWaitForEachOtherAreListedAroundThroughAllProcesses) {
  for (int processes : {2, 3}) {
    SimulatedRun run(pipeline({.stages = processes, .around = true}), 3);
    std::string around = SimulatedRun::place("stage0", 0);
    for (int p = processes - 1; p >= 0; --p) around += " -> " + SimulatedRun::place("stage" + std::to_string(p), p);
    expect_has(run.fault(), "; these wait for each other: " + around + "\n");
  }
}

// It is missed after its heartbeat; whoever waits for it directly or through others is told.
TEST(DriverStall, WhoWaitsForAProcessThatIsGoneIsToldThroughOthers) {
  for (const bool crashes : {false, true}) {
    SimulatedRun run(pipeline({3}), 5);
    run.cluster().events().at(run.cluster().events().now() + 0.5, 0,
                              [&] { crashes ? run.cluster().crash(0) : run.cluster().silence(0, 1e6); });
    const Fault fault = run.fault();
    expect_has(fault, "worker 0 (host0, process 100) ");
    EXPECT_EQ(fault.task, "stage0");
    EXPECT_EQ(fault.device, "cpu:0");
    expect_has(fault, "; what waits for it:\n  " + SimulatedRun::place("stage1", 1) + ", step ");
    expect_has(fault, " from " + SimulatedRun::place("stage0", 0));
  }
}

// Of a process that is gone, also where more wait for something else.
TEST(DriverStall, WhoWaitsForAProcessThatIsGoneIsToldWhateverElseStandsStill) {
  PlanBuilder builder("train");
  std::vector<TaskId> tasks;
  for (int d = 0; d < 5; ++d) {
    const std::string number = std::to_string(d);
    tasks.push_back(builder.task(builder.stream(builder.device("cpu:" + number), "s"), "task" + number, "mix"));
  }
  builder.read(tasks[1], builder.output(tasks[0], {.name = "y", .slots = 2}));
  const RegisterId other = builder.output(tasks[2], {.name = "z", .slots = 2});
  for (size_t t : {3, 4}) builder.read(tasks[t], other);
  SimulatedRun run(builder.finish(), 5);
  run.cluster().fires = [](int process, const LoadedPlan&, const TaskActor& actor) {
    return process != 2 || actor.firing().step < 3;
  };
  run.cluster().events().at(run.cluster().events().now() + 2, 0, [&] { run.cluster().crash(0); });
  const Fault fault = run.fault();
  EXPECT_EQ(fault.task, "task0");
  expect_has(fault, "; what waits for it:\n  " + SimulatedRun::place("task1", 1) + ", step ");
  EXPECT_EQ(fault.what.find("task2"), std::string::npos) << fault.what;
}

TEST(DriverStall, AProcessThatDoesNotAnswerIsNamedWithTheTaskThatIsWaitedFor) {
  SimulatedRun run(pipeline({3}), 5, 150, 1000);
  run.cluster().events().at(run.cluster().events().now() + 0.5, 0, [&] { run.cluster().silence(1, 1e6); });
  const Fault fault = run.fault();
  EXPECT_EQ(fault.task, "stage1");
  expect_has(fault, "; the one that should have moved is " + SimulatedRun::place("stage1", 1) +
                        " (model.py:42): this process does not answer; ");
  expect_has(fault, "\n  " + SimulatedRun::place("stage2", 2) + ", step ");
}

// What it says of the plan before means nothing in this one.
TEST(DriverStall, AProcessThatHasNotBegunIsNamed) {
  SimulatedRun run(pipeline({2}), 5);
  run.steps(3);
  const Plan before = pipeline({2});
  PlanBuilder builder("train");
  const TaskId first = builder.task(builder.stream(builder.device("cpu:0"), "s"), "first", "mix");
  const TaskId second = builder.task(builder.stream(builder.device("cpu:1"), "s"), "second", "mix");
  builder.read(first, builder.output(second, {.name = "y", .slots = 2}));
  const Plan plan = builder.finish();
  ASSERT_GT(before.streams.size(), plan.streams.size());
  run.use(plan);
  run.cluster().sends = [](int process, Command& command) {
    if (process == 1 && std::holds_alternative<Go>(command)) command = GetTime{};
  };
  const Fault fault = run.fault();
  EXPECT_EQ(fault.task, "second");
  expect_has(fault, "; the one that should have moved is " + SimulatedRun::place("second", 1) +
                        ": this process has not begun with the plan\n  " + SimulatedRun::place("first", 0));
}

TEST(DriverStall, BetweenStepsThereIsNone) {
  SimulatedRun run(pipeline({2}), 5);
  EXPECT_EQ(run.driver().stall().what, "no plan runs");
}

}  // namespace
}  // namespace troupe
