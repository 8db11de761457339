#include "actors/engine/executor.h"

#include <gtest/gtest.h>

#include "actors/engine/engine.h"
#include "actors/engine/exchange_hosts.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

// Two executors, driven by hand: a on the first tells b on the second.
class ExecutorTest : public testing::Test {
 protected:
  ExecutorTest() : engine_(kernels_, options(), clock_) {
    a_ = builder_.task(builder_.stream(builder_.device("cpu:0"), "compute"), "a", "mix");
    b_ = builder_.task(builder_.stream(builder_.device("cpu:1"), "compute"), "b", "mix");
    reg_ = builder_.output(a_, {.name = "r", .slots = 2});
    builder_.read(b_, reg_);
    handle_ = engine_.load(std::make_shared<Plan>(builder_.finish()));
    engine_.start(handle_, 0, 10);
    first().poll();
    second().poll();
  }
  static EngineOptions options() {
    EngineOptions made;
    made.executors = 2;
    made.spin_s = 0;  // the clock stands still
    return made;
  }
  Executor& first() { return engine_.executor(0); }
  Executor& second() { return engine_.executor(1); }
  static bool fire(Executor& executor) {
    StreamLoop* stream = executor.next();
    if (stream == nullptr) return false;
    executor.begin(*stream);
    EXPECT_TRUE(executor.compute(*stream));
    executor.finish(*stream);
    return true;
  }

  KernelTable kernels_ = sample_kernels();
  SimulatedClock clock_;
  Engine engine_;
  PlanBuilder builder_;
  TaskId a_;
  TaskId b_;
  RegisterId reg_;
  PlanHandle handle_;
};

TEST_F(ExecutorTest, AMessageIsInTheInboxBeforeTheNextKernelRuns) {
  EXPECT_FALSE(fire(second()));
  ASSERT_TRUE(fire(first()));
  EXPECT_FALSE(LaneReceiver(engine_.lane(0, 1)).empty());
  EXPECT_TRUE(second().poll());
  EXPECT_TRUE(fire(second()));
}

TEST_F(ExecutorTest, AProducerStopsWhenAllItsSlotsAreHeld) {
  EXPECT_TRUE(fire(first()));
  EXPECT_TRUE(fire(first()));
  EXPECT_FALSE(fire(first()));
  second().poll();
  EXPECT_TRUE(fire(second()));
  first().poll();
  EXPECT_TRUE(fire(first()));
  EXPECT_FALSE(fire(first()));
}

TEST_F(ExecutorTest, AMessageOfAnOlderLifeIsDropped) {
  ASSERT_TRUE(fire(first()));
  Message message;
  ASSERT_TRUE(LaneReceiver(engine_.lane(0, 1)).take(message));
  engine_.stop();
  engine_.start(handle_, 0, 10);
  second().deliver(message);
  second().poll();
  EXPECT_FALSE(fire(second()));
  EXPECT_EQ(engine_.fault(), std::nullopt);
}

TEST_F(ExecutorTest, ARefusedMessageIsAFaultThatNamesTheRegister) {
  ASSERT_TRUE(fire(first()));
  Message message;
  ASSERT_TRUE(LaneReceiver(engine_.lane(0, 1)).take(message));
  second().deliver(message);
  second().deliver(message);
  ASSERT_TRUE(engine_.fault());
  EXPECT_EQ(engine_.fault()->str(),
            "b, cpu:1: ready for version 0 of register 'r' refused: this version had come before");
}

TEST_F(ExecutorTest, StopsAtTheLimitAndSaysSo) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(fire(first()));
    second().poll();
    EXPECT_TRUE(fire(second()));
    first().poll();
    EXPECT_EQ(engine_.running(), i < 9);
  }
  EXPECT_FALSE(fire(first()));
}

TEST_F(ExecutorTest, AStreamIsQueuedOnceWhenTheNextStepsComeBeforeItIsLookedAtAgain) {
  engine_.stop();
  for (int64_t step = 0; step < 4; ++step) {
    engine_.start(handle_, step, 1);
    first().poll();
    second().poll();
    EXPECT_TRUE(fire(first()));
    second().poll();
    EXPECT_TRUE(fire(second()));
    EXPECT_FALSE(engine_.running());
  }
}

TEST_F(ExecutorTest, ASleepingOneIsRungOnce) {
  int rung = 0;
  engine_.set_bell([&](int executor) { rung += executor == 1; });
  rung = 0;
  EXPECT_EQ(second().run(1e9), Executor::Outcome::sleep);
  ASSERT_TRUE(fire(first()));
  EXPECT_EQ(rung, 1);
  ASSERT_TRUE(fire(first()));
  EXPECT_EQ(rung, 1);
  EXPECT_EQ(second().run(1e9), Executor::Outcome::sleep);
  EXPECT_EQ(second().firings(), 2u);
}

// A message to another host: the executor sends it itself when it has nothing to do, and rings the exchange's thread when it
// has.
TEST(FarExecutor, SendsWhileItWaitsAndRingsBeforeTheNextKernel) {
  for (const int32_t slots : {1, 2}) {
    const KernelTable kernels = sample_kernels();
    Hosts hosts(kernels, {.seed = 1, .shares = {{1, 1}, {1, 1}}});
    PlanBuilder builder;
    const TaskId a = builder.task(builder.stream(builder.device("cpu:0"), "compute"), "a", "mix");
    const TaskId b = builder.task(builder.stream(builder.device("cpu:1"), "compute"), "b", "mix");
    builder.read(b, builder.output(a, {.name = "r", .slots = slots}));
    hosts.load(builder.finish());
    ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
    hosts.go(10);
    Engine& engine = hosts.engine(0);
    int rung = 0;
    engine.set_bell([&](int executor) { rung += executor == 1; });
    hosts.exchange(0).bell().sleeps();
    EXPECT_EQ(engine.executor(0).run(1e9), Executor::Outcome::sleep);
    EXPECT_EQ(engine.executor(0).firings(), static_cast<uint64_t>(slots));
    EXPECT_TRUE(LaneReceiver(engine.lane(0, 1)).empty());
    EXPECT_EQ(rung, slots - 1);
  }
}

}  // namespace
}  // namespace troupe
