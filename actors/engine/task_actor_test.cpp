#include "actors/engine/task_actor.h"

#include <gtest/gtest.h>

#include "actors/engine/engine.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

// One task with one input (two slots) and one output (three slots, one reader on another executor).
class TaskActorTest : public testing::Test {
 protected:
  TaskActorTest() : engine_(kernels_, options(), clock_) {
    const StreamId here = builder_.stream(builder_.device("cpu:0"), "compute");
    const StreamId there = builder_.stream(builder_.device("cpu:1"), "compute");
    const TaskId before = builder_.task(there, "before", "mix");
    task_ = builder_.task(here, "task", "mix");
    const TaskId after = builder_.task(there, "after", "mix");
    in_ = builder_.output(before, {.name = "in", .slots = 2});
    builder_.read(task_, in_);
    out_ = builder_.output(task_, {.name = "out", .slots = 3});
    builder_.read(after, out_);
    PlanTask& task = builder_.at(task_);
    task.first_shard = 4;
    task.shards = 2;
    task.pieces_per_shard = 2;
  }
  static EngineOptions options() {
    EngineOptions made;
    made.executors = 2;
    return made;
  }
  void load() { handle_ = engine_.load(std::make_shared<Plan>(builder_.finish())); }
  // The handle's actor is const to all but its executor.
  TaskActor& actor() { return engine_.loaded(handle_).actor(task_); }
  Message ready(int64_t version, int32_t slot) const {
    return {version, 1, task_.value, 0, in_.value, slot, 0, MessageKind::ready};
  }

  KernelTable kernels_ = sample_kernels();
  SteadyClock clock_;
  Engine engine_;
  PlanBuilder builder_{"plan", 5};
  TaskId task_;
  RegisterId in_;
  RegisterId out_;
  PlanHandle handle_;
};

TEST_F(TaskActorTest, KnowsWhichPieceComesBy) {
  load();
  std::string failure;
  std::vector<std::string> seen;
  for (int firing = 0; firing < 7; ++firing) {
    ASSERT_EQ(actor().on(ready(firing, firing % 2)), Refusal::none);
    const bool empty = actor().empty();
    actor().begin(firing / 5, 9, &failure);
    const Firing& now = actor().firing();
    seen.push_back(std::to_string(now.step) + ":" + std::to_string(now.round) + " " +
                   (empty ? "empty" : std::to_string(now.shard) + "," + std::to_string(now.piece)));
    actor().finish([](MessageKind, const Route&, int64_t, int32_t) {});
    const Message freed{firing, 1, task_.value, 0, out_.value, firing % 3, 0, MessageKind::freed};
    ASSERT_EQ(actor().on(freed), Refusal::none);
  }
  EXPECT_EQ(seen,
            (std::vector<std::string>{"0:0 4,0", "0:1 4,1", "0:2 5,0", "0:3 5,1", "0:4 empty", "1:0 4,0", "1:1 4,1"}));
}

TEST_F(TaskActorTest, PointsItsViewsAtTheSlotsOfTheFiring) {
  load();
  std::string failure;
  for (int firing = 0; firing < 6; ++firing) {
    ASSERT_EQ(actor().on(ready(firing, firing % 2)), Refusal::none);
    actor().begin(0, 0, &failure);
    EXPECT_EQ(actor().inputs()[0].data, engine_.bytes(handle_, in_, static_cast<size_t>(firing % 2)).data());
    EXPECT_EQ(actor().outputs()[0].data, engine_.bytes(handle_, out_, static_cast<size_t>(firing % 3)).data());
    actor().finish([](MessageKind, const Route&, int64_t, int32_t) {});
    ASSERT_EQ(actor().on_freed(0, firing), Refusal::none);
  }
}

TEST_F(TaskActorTest, TellsItsReadersAndItsProducer) {
  load();
  ASSERT_EQ(actor().on(ready(0, 0)), Refusal::none);
  std::string failure;
  actor().begin(0, 0, &failure);
  std::vector<std::string> told;
  actor().finish([&](MessageKind kind, const Route& to, int64_t version, int32_t slot) {
    const Plan& plan = engine_.plan(handle_);
    told.push_back((kind == MessageKind::ready ? "ready " : "freed ") + plan.reg(RegisterId(to.reg)).name + " to " +
                   plan.task(TaskId(to.task)).name + ": " + std::to_string(version) + " in " + std::to_string(slot));
  });
  EXPECT_EQ(told, (std::vector<std::string>{"ready out to after: 0 in 0", "freed in to before: 0 in 0"}));
}

TEST_F(TaskActorTest, ChecksEverythingThatAMessageSays) {
  load();
  EXPECT_EQ(actor().on(ready(0, 1)), Refusal::wrong_slot);
  EXPECT_EQ(actor().on(ready(1, 1)), Refusal::out_of_order);
  Message other = ready(0, 0);
  other.reg = out_.value;
  EXPECT_EQ(actor().on(other), Refusal::no_such_port);
  other = ready(0, 0);
  other.port = 1;
  EXPECT_EQ(actor().on(other), Refusal::no_such_port);
  EXPECT_EQ(actor().on({0, 1, task_.value, 0, out_.value, 0, 0, MessageKind::freed}), Refusal::never_written);
  EXPECT_EQ(actor().on({0, 1, task_.value, 7, out_.value, 0, 0, MessageKind::freed}), Refusal::no_such_port);
  EXPECT_EQ(actor().on(ready(0, 0)), Refusal::none);
  EXPECT_EQ(actor().on(ready(0, 0)), Refusal::repeated);
  EXPECT_EQ(actor().on(ready(1, 1)), Refusal::none);
  EXPECT_EQ(actor().on(ready(2, 0)), Refusal::overrun);
}

TEST_F(TaskActorTest, RefusesToOverwriteInPlaceWhatHasTwoSlots) {
  builder_.read(task_, out_);
  builder_.at(out_).initial = 1;
  try {
    load();
    FAIL() << "nothing was thrown";
  } catch (const PlanError& error) {
    EXPECT_STREQ(error.what(),
                 "plan 'plan': task 'task': overwrites register 'out' in place, which needs 1 slot and 1 initial "
                 "version; it has 3 and 1");
  }
}

}  // namespace
}  // namespace troupe
