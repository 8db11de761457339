#include "actors/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/thread_runner.h"

namespace troupe {
namespace {

// y[0] = x[0] + 1, or += the input.
void increment(const KernelArgs& args, Stream&) {
  *args.outputs[0].as<float>() =
      *args.inputs[0].as<float>() + (args.inputs.size() > 1 ? *args.inputs[1].as<float>() : 1);
}
void copy(const KernelArgs& args, Stream&) {
  std::memcpy(args.outputs[0].data, args.inputs[0].data, static_cast<size_t>(args.outputs[0].bytes()));
}
void sleep_long(const KernelArgs&, Stream&) { std::this_thread::sleep_for(std::chrono::milliseconds(600)); }
void divide_by_zero(const KernelArgs& args, Stream&) {
  *args.outputs[0].as<float>() = args.firing.step == 2 ? std::numeric_limits<float>::infinity() : 1;
}
void fail_at_step_3(const KernelArgs& args, Stream&) {
  if (args.firing.step == 3) *args.failure = "bad luck";
}

KernelTable kernels() {
  KernelTable table = sample_kernels();
  table.add("increment", DeviceKind::cpu, increment);
  table.add("copy", DeviceKind::cpu, copy);
  table.add("sleep", DeviceKind::cpu, sleep_long);
  table.add("divide", DeviceKind::cpu, divide_by_zero);
  table.add("fail at 3", DeviceKind::cpu, fail_at_step_3);
  return table;
}

// Writes the number of the global piece (2 per step), counts its reads, is ready up to a step.
class Counting final : public Source {
 public:
  explicit Counting(int64_t ready_before = 1000000) : ready_before_(ready_before) {}
  bool ready(int64_t step) const override { return step < ready_before_; }
  void read(const Firing& firing, int32_t, const TensorView& out, std::string*) override {
    *out.as<float>() = static_cast<float>(firing.step * 2 + firing.round);
    ++reads;
  }
  void more(int64_t ready_before) { ready_before_ = ready_before; }
  std::atomic<int> reads{0};

 private:
  std::atomic<int64_t> ready_before_;
};

PlanBuilder::Register number(const std::string& name, ArenaKind arena = ArenaKind::workspace) {
  PlanBuilder::Register reg;
  reg.name = name;
  reg.dtype = DType::f32;
  reg.arena = arena;
  return reg;
}

// source -> x; sum of x over the two rounds is not taken: w += the last x of the step. Fetched: every y = copy(x), w.
Plan training(const std::string& name = "train") {
  PlanBuilder builder(name, 2);
  const DeviceId device = builder.device("cpu:0");
  const StreamId ahead = builder.stream(device, "copy", true);
  const StreamId compute = builder.stream(device, "compute");
  const TaskId data = builder.source(ahead, "data", "numbers");
  PlanBuilder::Register x = number("x", ArenaKind::io);
  x.slots = 6;
  const RegisterId read = builder.output(data, x);
  const TaskId forward = builder.task(compute, "forward", "copy");
  builder.read(forward, read);
  PlanBuilder::Register every = number("y", ArenaKind::io);
  every.slots = 2;
  const RegisterId y = builder.output(forward, every);
  const TaskId last = builder.task(compute, "last", "copy");
  builder.read(last, read);
  PlanBuilder::Register held = number("last");
  held.every = 2;
  const RegisterId step_end = builder.output(last, held);
  const TaskId update = builder.task(compute, "update", "increment", 1);
  PlanBuilder::Register weight = number("w", ArenaKind::variables);
  weight.initial = 1;
  const RegisterId w = builder.output(update, weight);
  builder.read(update, w);
  builder.read(update, step_end);
  builder.variable("w", w);
  Plan plan = builder.finish();
  PlanOutput output{"y", DType::f32, Shape{2}, {}};
  for (int64_t piece = 0; piece < 2; ++piece) output.parts.push_back({y, {Dims{piece}, Dims{1}}, int32_t(piece)});
  plan.outputs.push_back(output);
  return plan;
}

// out = w + 1
Plan evaluation() {
  PlanBuilder builder("evaluate");
  const DeviceId device = builder.device("cpu:0");
  const RegisterId w = builder.constant(device, number("w", ArenaKind::variables));
  const TaskId task = builder.task(builder.stream(device, "compute"), "evaluate", "increment");
  builder.read(task, w);
  builder.fetched("out", builder.output(task, number("out")));
  builder.variable("w", w);
  return builder.finish();
}

struct Rig {
  explicit Rig(int executors = 1) : engine(table, options(executors), clock), runner(std::in_place, engine) {}
  static EngineOptions options(int executors) {
    EngineOptions made;
    made.executors = executors;
    return made;
  }
  float variable(PlanHandle plan) {
    float value = 0;
    engine.registers(plan).read(engine.plan(plan).variables.at(0), std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::vector<float> fetched(PlanHandle plan) {
    const PlanOutput& output = engine.plan(plan).outputs.at(0);
    std::vector<float> values(static_cast<size_t>(output.shape.elements()));
    engine.registers(plan).fetch(output, std::as_writable_bytes(std::span(values)));
    return values;
  }
  KernelTable table = kernels();
  SteadyClock clock;
  Engine engine;
  std::optional<ThreadRunner> runner;
};

PlanHandle load(Rig& rig, const Plan& plan, std::shared_ptr<Source> source = nullptr) {
  SourceMap sources;
  if (source) sources["numbers"] = source;
  return rig.engine.load(std::make_shared<Plan>(plan), sources);
}

TEST(Engine, RandomGraphsOnThreadsComputeWhatTheInterpreterDoes) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    Rig rig(1 + static_cast<int>(seed % 4));
    const PlanHandle plan = rig.engine.load(std::make_shared<Plan>(graph.plan), graph.sources);
    Interpreter expected(graph.plan, rig.table, graph.sources, 0);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const RegisterId reg(static_cast<int64_t>(r));
      if (graph.plan.registers[r].is_control() || !rig.engine.loaded(plan).device_of(reg).valid()) continue;
      for (int32_t v = 0; v < graph.plan.registers[r].initial; ++v) {
        expected.set(reg, v, rig.engine.bytes(plan, reg, static_cast<size_t>(v)));
      }
    }
    expected.run(8);
    rig.engine.run(plan, 0, 5);
    rig.engine.run(plan, 5, 3);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const RegisterId reg(static_cast<int64_t>(r));
      const PlanRegister& of = graph.plan.registers[r];
      if (of.arena != ArenaKind::variables || !of.producer.valid()) continue;
      const auto have = rig.engine.bytes(plan, reg);
      ASSERT_TRUE(std::ranges::equal(have, expected.newest(reg))) << "seed " << seed << " " << of.name;
    }
  }
}

TEST(Engine, ARunInPartsIsTheRunInOneGo) {
  Rig whole;
  const PlanHandle a = load(whole, training(), std::make_shared<Counting>());
  whole.engine.run(a, 0, 10);
  Rig parts;
  const PlanHandle b = load(parts, training(), std::make_shared<Counting>());
  for (int64_t step : {0, 3, 4, 9}) parts.engine.run(b, step, step == 0 ? 3 : step == 3 ? 1 : step == 4 ? 5 : 1);
  EXPECT_EQ(whole.variable(a), 1 + 3 + 5 + 7 + 9 + 11 + 13 + 15 + 17 + 19);
  EXPECT_EQ(parts.variable(b), whole.variable(a));
}

TEST(Engine, FetchesEveryPieceOfTheLastStep) {
  Rig rig;
  const PlanHandle plan = load(rig, training(), std::make_shared<Counting>());
  rig.engine.run(plan, 0, 3);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{4, 5}));
  rig.engine.run(plan, 3, 1);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{6, 7}));
}

TEST(Engine, AnotherFirstStepStartsAfresh) {
  Rig rig;
  const PlanHandle plan = load(rig, training(), std::make_shared<Counting>());
  rig.engine.run(plan, 0, 2);
  rig.engine.run(plan, 100, 1);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{200, 201}));
  rig.engine.run(plan, 0, 1);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{0, 1}));
  EXPECT_EQ(rig.variable(plan), 1 + 3 + 201 + 1);
}

TEST(Engine, NoStepsIsARunToo) {
  Rig rig;
  const PlanHandle plan = load(rig, training(), std::make_shared<Counting>());
  rig.engine.run(plan, 7, 0);
  rig.engine.run(plan, 7, 1);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{14, 15}));
}

TEST(Engine, WhatASourceHasReadAheadSurvivesAnotherPlan) {
  Rig rig;
  const auto source = std::make_shared<Counting>();
  const PlanHandle train = load(rig, training(), source);
  const PlanHandle evaluate = load(rig, evaluation());
  for (int64_t step = 0; step < 5; ++step) {
    rig.engine.run(train, step, 1);
    rig.engine.run(evaluate, 0, 1);
    EXPECT_EQ(rig.fetched(evaluate)[0], rig.variable(train) + 1);
  }
  EXPECT_EQ(rig.variable(train), 1 + 3 + 5 + 7 + 9);
  EXPECT_LE(source->reads, 5 * 2 + 6);  // no piece was read twice
}

TEST(Engine, VariablesKeepTheirBytesWhenALaterPlanNeedsMore) {
  Rig rig;
  const PlanHandle small = load(rig, evaluation());
  const float five = 5;
  rig.engine.write(small, rig.engine.plan(small).variables[0], std::as_bytes(std::span(&five, 1)));
  Plan larger = training();
  larger.devices[0].arena_bytes[0] += 4096;
  larger.devices[0].arena_bytes[1] += 4096;
  const PlanHandle train = load(rig, larger, std::make_shared<Counting>());
  EXPECT_EQ(rig.variable(train), 5);
  rig.engine.run(train, 0, 1);
  rig.engine.run(small, 0, 1);
  EXPECT_EQ(rig.fetched(small)[0], 7);
}

TEST(Engine, OtherSourcesStartAPlanAfresh) {
  Rig rig;
  const PlanHandle plan = load(rig, training(), std::make_shared<Counting>());
  rig.engine.run(plan, 0, 2);
  const auto other = std::make_shared<Counting>();
  rig.engine.set_sources(plan, {{"numbers", other}});
  rig.engine.run(plan, 2, 1);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{4, 5}));
  EXPECT_GE(other->reads, 2);
}

TEST(Engine, ASourceThatBecomesReadyWakesTheExecutors) {
  Rig rig;
  const auto source = std::make_shared<Counting>(1);
  const PlanHandle plan = load(rig, training(), source);
  rig.engine.start(plan, 0, 2);
  EXPECT_FALSE(rig.engine.wait_for(0.05, 60));
  EXPECT_TRUE(rig.engine.running());
  source->more(10);
  rig.engine.wake();
  rig.engine.wait(60);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{2, 3}));
}

TEST(Engine, RefusesPlansThatItCannotRun) {
  Rig rig;
  const auto text = [&](const Plan& plan) -> std::string {
    try {
      rig.engine.run(load(rig, plan), 0, 1);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(text(training()), "plan 'train': no source for 'numbers'");
  Plan unknown = evaluation();
  unknown.tasks[0].kernel = "bogus";
  unknown.tasks[0].line = {"model.py", 41};
  EXPECT_EQ(text(unknown), "plan 'evaluate': task 'evaluate': no kernel 'bogus' for cpu:0 (model.py:41)");
  Plan later = evaluation();
  later.epoch = 1;
  EXPECT_EQ(text(later), "plan 'evaluate': is of epoch 1, but 'train' of epoch 0 is still loaded");
  Plan elsewhere = evaluation();
  elsewhere.registers[0].slots = {64};
  elsewhere.devices[0].arena_bytes[0] += 64;
  EXPECT_EQ(text(elsewhere),
            "plan 'evaluate': has variable 'w' at cpu:0 byte 64 with [0:1], but 'train' of the same "
            "epoch does not");
  Plan broken = evaluation();
  broken.registers[0].slots = {640000};
  EXPECT_NE(text(broken).find("cannot be run"), std::string::npos);
}

TEST(Engine, AFaultStopsItAndTheNextStartBeginsAfresh) {
  PlanBuilder builder;
  const StreamId stream = builder.stream(builder.device("cpu:0"), "compute");
  builder.task(stream, "embed", "fail at 3");
  Rig rig;
  const PlanHandle plan = load(rig, builder.finish());
  rig.engine.run(plan, 0, 3);
  EXPECT_THROW(rig.engine.run(plan, 3, 2), FaultError);
  EXPECT_EQ(rig.engine.fault()->str(), "embed, cpu:0: bad luck");
  rig.engine.run(plan, 4, 2);
  EXPECT_EQ(rig.engine.fault(), std::nullopt);
}

TEST(Engine, NamesTheSourceThatEverybodyWaitsFor) {
  Rig rig;
  const PlanHandle plan = load(rig, training(), std::make_shared<Counting>(1));
  rig.engine.start(plan, 0, 2);
  try {
    rig.engine.wait(0.1);
    FAIL() << "nothing was thrown";
  } catch (const FaultError& error) {
    EXPECT_EQ(error.fault().task, "data");
    EXPECT_EQ(error.fault().deadline, 0.1);
    const std::string text = error.what();
    EXPECT_NE(
        text.find("the one that should have moved is 'data' on cpu:0, step 1: its source 'numbers' has had no data"),
        std::string::npos)
        << text;
    EXPECT_NE(text.find("\n  'forward' on cpu:0, step 1, waits for version 2 of register 'x' from 'data' on cpu:0"),
              std::string::npos)
        << text;
  }
}

TEST(Engine, NamesTheKernelThatDoesNotEnd) {
  PlanBuilder builder;
  const DeviceId a = builder.device("cpu:0");
  const DeviceId b = builder.device("cpu:1");
  const TaskId slow = builder.task(builder.stream(a, "compute"), "slow", "sleep");
  const TaskId fast = builder.task(builder.stream(b, "compute"), "fast", "mix");
  builder.read(fast, builder.output(slow, number("r")));
  Rig rig(2);
  const PlanHandle plan = load(rig, builder.finish());
  rig.engine.start(plan, 0, 1);
  try {
    rig.engine.wait(0.1);
    FAIL() << "nothing was thrown";
  } catch (const FaultError& error) {
    EXPECT_EQ(error.fault().task, "slow");
    EXPECT_EQ(error.fault().device, "cpu:0");
    EXPECT_NE(std::string(error.what())
                  .find("the one that should have moved is 'slow' on cpu:0: its kernel has not ended "
                        "for "),
              std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what())
                  .find("\n  'fast' on cpu:1, step 0, waits for version 0 of register 'r' from "
                        "'slow' on cpu:0"),
              std::string::npos)
        << error.what();
  }
}

TEST(Engine, ListsTheTasksThatWaitForEachOther) {
  PlanBuilder builder;
  const TaskId a = builder.task(builder.stream(builder.device("cpu:0"), "compute"), "a", "mix");
  const TaskId b = builder.task(builder.stream(builder.device("cpu:1"), "compute"), "b", "mix");
  builder.read(b, builder.output(a, number("from a")));
  builder.read(a, builder.output(b, number("from b")));
  Rig rig(2);
  const PlanHandle plan = load(rig, builder.finish());
  rig.engine.start(plan, 0, 1);
  try {
    rig.engine.wait(0.1);
    FAIL() << "nothing was thrown";
  } catch (const FaultError& error) {
    EXPECT_NE(std::string(error.what()).find("these wait for each other: 'a' on cpu:0 -> 'b' on cpu:1 -> 'a' on cpu:0"),
              std::string::npos)
        << error.what();
  }
}

TEST(Engine, AWaitThatMakesProgressIsNoStall) {
  PlanBuilder builder;
  const StreamId stream = builder.stream(builder.device("cpu:0"), "compute");
  builder.task(stream, "slow", "sleep");
  Rig rig;
  rig.engine.run(load(rig, builder.finish()), 0, 3, 1.5);  // 1.8 s in all
}

TEST(Engine, CountsFiringsMessagesAndTimes) {
  Rig rig;
  const PlanHandle plan = load(rig, training(), std::make_shared<Counting>());
  Observe what;
  what.counts = what.times = what.live_bytes = true;
  what.trace_steps = 10;
  rig.engine.observe(plan, what);
  rig.engine.run(plan, 0, 10);
  const Observations seen = rig.engine.observations(plan);
  EXPECT_EQ(seen.tasks.at(1).firings, 20);
  EXPECT_EQ(seen.tasks.at(3).firings, 10);
  EXPECT_GT(seen.tasks.at(1).busy_s, 0);
  EXPECT_EQ(seen.crossing, 0);
  EXPECT_GE(seen.messages, 10 * 2 * 4 + 10 * 2);
  EXPECT_GE(seen.trace.size(), 70u);
  // x is read ahead into up to six slots; two of y stay for the driver; one of `last`.
  ASSERT_EQ(seen.peak_bytes.size(), 1u);
  EXPECT_LE(seen.peak_bytes[0], 4 * (6 + 2 + 1));
  EXPECT_GE(seen.peak_bytes[0], 4 * (1 + 2 + 1));
}

TEST(Engine, NamesTheTaskWhereTheFirstNonFiniteValueWasBorn) {
  PlanBuilder builder;
  const DeviceId device = builder.device("cpu:0");
  const StreamId stream = builder.stream(device, "compute");
  const TaskId good = builder.task(stream, "good", "divide");
  const TaskId bad = builder.task(stream, "bad", "divide");
  const TaskId after = builder.task(stream, "after", "copy");
  builder.output(good, number("g"));
  const RegisterId r = builder.output(bad, number("r"));
  builder.read(after, r);
  builder.output(after, number("s"));
  Plan plan = builder.finish();
  plan.tasks[0].kernel = "increment";  // of the constant
  plan.registers.push_back(plan.registers[0]);
  plan.registers.back().name = "one";
  plan.registers.back().producer = TaskId();
  plan.registers.back().initial = 1;
  plan.registers.back().arena = ArenaKind::variables;
  plan.registers.back().slots = {0};
  plan.devices[0].arena_bytes[0] = 64;
  plan.tasks[0].inputs.push_back({RegisterId(3), 1});
  Rig rig;
  const PlanHandle handle = load(rig, plan);
  Observe what;
  what.finite = true;
  rig.engine.observe(handle, what);
  rig.engine.run(handle, 0, 2);
  EXPECT_FALSE(rig.engine.observations(handle).nonfinite);
  rig.engine.run(handle, 2, 3);
  const std::optional<NonFinite> found = rig.engine.observations(handle).nonfinite;
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->born);
  EXPECT_EQ(found->task, bad);
  EXPECT_EQ(found->reg, r);
  EXPECT_EQ(found->step, 2);
  EXPECT_EQ(found->position, 1);
  EXPECT_TRUE(std::isinf(found->value));
}

TEST(Engine, StopsInTheMiddle) {
  Rig rig;
  const PlanHandle plan = load(rig, training(), std::make_shared<Counting>());
  rig.engine.start(plan, 0, 1000000000);
  EXPECT_FALSE(rig.engine.wait_for(0.01, 60));
  rig.engine.stop();
  EXPECT_FALSE(rig.engine.running());
  rig.engine.run(plan, 5, 1);
  EXPECT_EQ(rig.fetched(plan), (std::vector<float>{10, 11}));
}

TEST(Engine, PlansComeAndGo) {
  Rig rig;
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    Plan train = training();
    Plan evaluate = evaluation();
    train.epoch = evaluate.epoch = epoch;
    const PlanHandle a = load(rig, train, std::make_shared<Counting>());
    const PlanHandle b = load(rig, evaluate);
    rig.engine.run(a, 0, 2);
    rig.engine.unload(a);
    EXPECT_THROW(rig.engine.plan(a), PlanError);
    rig.engine.run(b, 0, 1);
    EXPECT_EQ(rig.fetched(b)[0], 5);
    rig.engine.unload(b);
  }
}

}  // namespace
}  // namespace troupe
