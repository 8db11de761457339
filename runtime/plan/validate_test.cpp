#include "runtime/plan/validate.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "runtime/base/random.h"
#include "runtime/plan/sample_plans.h"

namespace troupe {
namespace {

// The small plan: registers 0 w, 1 x, 2 y, 3 dw, 4 free (control); tasks 0 data, 1 forward, 2 gradient, 3
// update.
std::string flaw_after(const std::function<void(Plan&)>& change) {
  Plan plan = small_plan();
  change(plan);
  return flaw_in(plan).value_or("none");
}

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

TEST(ValidatePlan, FindsNoFlawInGoodPlans) {
  EXPECT_EQ(flaw_in(small_plan()), std::nullopt);
  EXPECT_EQ(flaw_in(Plan()), std::nullopt);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    ASSERT_EQ(flaw_in(random_plan(seed, 60)), std::nullopt) << seed;
  }
}

TEST(ValidatePlan, ThrowsAFaultThatNamesTheOrigin) {
  Plan plan = small_plan();
  plan.rounds = 0;
  EXPECT_NO_THROW(validate(small_plan()));
  try {
    validate(plan, "plan file 'x'");
    FAIL() << "accepted";
  } catch (const FaultError& error) {
    EXPECT_STREQ(error.what(), "plan file 'x' cannot be run: plan: rounds is 0; at least 1 is needed");
  }
}

TEST(ValidatePlan, IdsPointToEntries) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.streams[1].device = DeviceId(1); }),
            "stream 1 'cpu:0 compute': device 1 does not exist; there are 1");
  EXPECT_EQ(flaw_after([](Plan& p) { p.streams[1].segments[0].tasks[0] = TaskId(-1); }),
            "stream 1 'cpu:0 compute': task -1 does not exist; there are 4");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].producer = TaskId(4); }),
            "register 2 'y': producer 4 does not exist; there are 4");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].device = DeviceId(); }),
            "task 1 'forward': device -1 does not exist; there are 1");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].stream = StreamId(2); }),
            "task 1 'forward': stream 2 does not exist; there are 2");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].inputs[0].reg = RegisterId(5); }),
            "task 1 'forward': input register 5 does not exist; there are 5");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].outputs[0] = RegisterId(-7); }),
            "task 1 'forward': output register -7 does not exist; there are 5");
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables[0].parts[0].reg = RegisterId(5); }),
            "variable 0 'w': register 5 does not exist; there are 5");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].dtype = static_cast<DType>(8); }),
            "register 2 'y': dtype 8 does not exist");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].arena = static_cast<ArenaKind>(3); }),
            "register 2 'y': arena 3 does not exist");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[2].kind = static_cast<TaskKind>(2); }),
            "task 2 'gradient': task kind 2 does not exist");
}

TEST(ValidatePlan, NamesTellDevicesAndVariablesApart) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.devices[0].name = ""; }), "device 0 '': it has no name");
  EXPECT_EQ(flaw_after([](Plan& p) { p.devices.push_back(p.devices[0]); }),
            "device 1 'cpu:0': another device has the same name");
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables.push_back(p.variables[0]); }),
            "variable 1 'w': another has the same name");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].kernel = ""; }), "task 1 'forward': it names no kernel");
}

TEST(ValidatePlan, ARegisterIsAnOutputOfItsProducerAlone) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].producer = TaskId(2); }),
            "task 1 'forward': it writes register 2 'y', whose producer is task 2");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].outputs = {RegisterId(2), RegisterId(2)}; }),
            "task 1 'forward': it writes register 2 'y' twice");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].outputs.clear(); }),
            "register 2 'y': its producer, task 1 'forward', does not write it");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[0].producer = TaskId(); }),
            "task 3 'update': it writes register 0 'w', whose producer is task -1");
  EXPECT_EQ(flaw_after([](Plan& p) {
              p.registers[2].producer = TaskId();
              p.tasks[1].outputs.clear();
            }),
            "register 2 'y': no task writes it and it starts empty");
}

TEST(ValidatePlan, ARegisterLiesOnItsProducersDevice) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].device = DeviceId(); }),
            "register 2 'y': device -1 does not exist; there are 1");
  EXPECT_EQ(flaw_after([](Plan& p) {
              p.devices.push_back({"cpu:1", {256, 256, 256}});
              p.registers[2].device = DeviceId(1);
            }),
            "register 2 'y': it lies on device 1, its producer, task 1 'forward', is on device 0");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[4].device = DeviceId(0); }),
            "register 4 'free': a control edge lies on device 0");
}

TEST(ValidatePlan, AVariableThatNoTaskWritesIsFine) {
  EXPECT_EQ(flaw_after([](Plan& p) {
              p.registers[0].producer = TaskId();
              p.tasks[3].inputs.erase(p.tasks[3].inputs.begin());
              p.tasks[3].outputs.clear();
            }),
            "none");
}

TEST(ValidatePlan, CreditsAndSlotsAgree) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].slot_count = 3; }), "register 2 'y': it has 2 slots and 3 credits");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[4].slot_count = 0; }), "register 4 'free': it has 0 credits");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[4].initial = 2; }),
            "register 4 'free': it starts with 2 versions, and has 1 credits");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[4].bytes = 8; }), "register 4 'free': a control edge carries 8 bytes");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[0].initial = 0; }),
            "task 3 'update': it overwrites register 0 'w', which starts empty");
}

TEST(ValidatePlan, SlotsLieInTheirArena) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].slots[1] = 160; }),
            "register 2 'y': a slot is at byte 160, not a multiple of 64");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].slots[1] = 256; }),
            "register 2 'y': a slot of 64 bytes at 256 is outside its arena of 256 bytes");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].slots[1] = -64; }),
            "register 2 'y': a slot of 64 bytes at -64 is outside its arena of 256 bytes");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].bytes = kHuge; }),
            "register 2 'y': a slot of 9223372036854775807 bytes at 128 is outside its arena of 256 bytes");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].slots[1] = 128; }),
            "register 2 'y': its slots of 64 bytes at 128 and 128 overlap");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[2].bytes = 63; }),
            "register 2 'y': a slot has 63 bytes; f32[2,8] needs 64");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[3].scratch_offset = 320; }),
            "task 3 'update': its scratch of 64 bytes at 320 is not inside the workspace of 320 bytes at a "
            "multiple of 64");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[3].scratch_bytes = -1; }),
            "task 3 'update': its scratch of -1 bytes at 256 is not inside the workspace of 320 bytes at a "
            "multiple of 64");
  EXPECT_EQ(flaw_after([](Plan& p) { p.devices[0].arena_bytes[2] = -1; }), "device 0 'cpu:0': an arena has -1 bytes");
}

TEST(ValidatePlan, ShapesArePossible) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[1].logical = {int64_t{1} << 32, int64_t{1} << 32, 0}; }),
            "register 1 'x': its logical shape [4294967296,4294967296,0] is not possible");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[1].logical = {2, -8}; }),
            "register 1 'x': its logical shape [2,-8] is not possible");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[1].offset = {1, 0}; }),
            "register 1 'x': its part [2,8] at [1,0] is not inside [2,8]");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[1].offset = {kHuge, 0}; }),
            "register 1 'x': its part [2,8] at [9223372036854775807,0] is not inside [2,8]");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[1].offset = {0}; }),
            "register 1 'x': its part [2,8] at [0] is not inside [2,8]");
}

TEST(ValidatePlan, ATaskAndItsStreamShareADevice) {
  EXPECT_EQ(flaw_after([](Plan& p) {
              p.devices.push_back({"cpu:1", {256, 512, 256}});
              p.tasks[1].device = DeviceId(1);
            }),
            "task 1 'forward': it is on device 1, its stream 1 is on device 0");
}

TEST(ValidatePlan, ControlEdgesStandLast) {
  EXPECT_EQ(flaw_after([](Plan& p) { std::swap(p.tasks[1].inputs[0], p.tasks[1].inputs[2]); }),
            "task 1 'forward': a control edge stands before a tensor");
  EXPECT_EQ(flaw_after([](Plan& p) { std::swap(p.tasks[2].outputs[0], p.tasks[2].outputs[1]); }),
            "task 2 'gradient': a control edge stands before a tensor");
}

TEST(ValidatePlan, VersionsComeAndGoEquallyOften) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].firings_per_step = 3; }),
            "task 1 'forward': it fires 3 times per step; once or 2 times (rounds) is possible");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[3].every = 1; }),
            "task 3 'update': it consumes 1 versions of register 3 'dw' per step; task 2 'gradient' writes 2");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].inputs[1].every = 1; }),
            "task 1 'forward': it consumes 2 versions of register 0 'w' per step; task 3 'update' writes 1");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[3].every = 3; }),
            "task 2 'gradient': it fires 2 times per step, which is no multiple of the 3 firings after which "
            "register 3 "
            "'dw' is complete");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].inputs[1].every = 0; }),
            "task 1 'forward': it fires 2 times per step, which is no multiple of the 0 firings for which it holds "
            "register 0 'w'");
  EXPECT_EQ(flaw_after([](Plan& p) { p.registers[3].every = 0; }),
            "register 3 'dw': it is complete after every 0 firings");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[0].shards = 3; }),
            "task 0 'data': it fires 2 times per step for 3 shards from 0 of 1 pieces");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[0].first_shard = std::numeric_limits<int32_t>::max(); }),
            "task 0 'data': it fires 2 times per step for 2 shards from 2147483647 of 1 pieces");
}

TEST(ValidatePlan, AStreamNamesItsTasksAsOftenAsTheyFire) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.streams[1].segments[0].repeat = 1; }),
            "task 1 'forward': its stream names it 1 times per step; it fires 2 times");
  EXPECT_EQ(flaw_after([](Plan& p) { p.streams[1].segments.push_back({1, {TaskId(3)}}); }),
            "task 3 'update': its stream names it at least 2 times per step; it fires 1 times");
  EXPECT_EQ(flaw_after([](Plan& p) { p.streams[1].segments.push_back({1, {TaskId(0)}}); }),
            "task 0 'data': it belongs to stream 0, but stream 1 'cpu:0 compute' names it");
  EXPECT_EQ(flaw_after([](Plan& p) { p.streams[1].segments[1].tasks.clear(); }),
            "task 3 'update': its stream names it 0 times per step; it fires 1 times");
  EXPECT_EQ(flaw_after([](Plan& p) { p.streams[1].segments[0].repeat = 0; }),
            "stream 1 'cpu:0 compute': a segment repeats 0 times");
}

TEST(ValidatePlan, AnySplitOfAStreamIntoSegmentsIsFine) {
  EXPECT_EQ(flaw_after([](Plan& p) {
              const TaskId forward(1), gradient(2), update(3);
              p.streams[1].segments = {{2, {forward}}, {1, {gradient, gradient}}, {1, {}}, {1, {update}}};
            }),
            "none");
}

TEST(ValidatePlan, PartsOfVariablesAreWhatTheirRegistersHold) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables[0].parts[0].reg = RegisterId(4); }),
            "variable 0 'w': register 4 'free' is a control edge");
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables[0].dtype = DType::i32; }),
            "variable 0 'w': it is i32, register 0 'w' is f32");
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables[0].parts[0].box.offset = {1, 0}; }),
            "variable 0 'w': its part [8,8] at [1,0] is not inside [8,8]");
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables[0].parts[0].box.extent = {4, 8}; }),
            "variable 0 'w': its part has shape [4,8], register 0 'w' has [8,8]");
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables[0].shape = {16, 8}; }),
            "variable 0 'w': its part [8,8] at [0,0] of [16,8] is [8,8] at [0,0] of [8,8] in register 0 'w'");
  EXPECT_EQ(flaw_after([](Plan& p) { p.variables[0].parts[0].reg = RegisterId(3); }),
            "variable 0 'w': register 3 'dw' is not in the variables' arena");
}

TEST(ValidatePlan, PartsOfAnOutputHoldItOnce) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.outputs[0].parts.pop_back(); }),
            "output 0 'y': its parts hold 16 of 32 elements");
  EXPECT_EQ(flaw_after([](Plan& p) { p.outputs[0].parts.push_back(p.outputs[0].parts[0]); }),
            "output 0 'y': its parts hold some of it twice");
  EXPECT_EQ(flaw_after([](Plan& p) { p.outputs[0].parts[0].piece = -2; }), "output 0 'y': a part is of piece -2");
}

TEST(ValidatePlan, APartOfAPieceIsStillThereAfterTheStep) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.outputs[0].parts[0].piece = 2; }),
            "output 0 'y': a part is of piece 2 of the step's batch; register 2 'y' holds pieces 0 to 1");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].first_shard = 1; }),
            "output 0 'y': a part is of piece 0 of the step's batch; register 2 'y' holds pieces 1 to 2");
  EXPECT_EQ(flaw_after([](Plan& p) {
              p.registers[2].slots.pop_back();
              p.registers[2].slot_count = 1;
            }),
            "output 0 'y': piece 0 is overwritten within the step: register 2 'y' has 1 slots for 2 versions");
}

TEST(ValidatePlan, PromisesAreNumbers) {
  EXPECT_EQ(flaw_after([](Plan& p) { p.promise.step_s = std::numeric_limits<double>::quiet_NaN(); }),
            "promise: the step takes nan s");
  EXPECT_EQ(flaw_after([](Plan& p) { p.promise.peak = {1, 2}; }), "promise: peaks of 2 devices; there are 1");
  EXPECT_EQ(flaw_after([](Plan& p) { p.promise.peak = {-1}; }), "promise: a peak is negative");
  EXPECT_EQ(flaw_after([](Plan& p) { p.promise.traffic[0].bytes = -1; }),
            "promise: the traffic of all_reduce is negative");
  EXPECT_EQ(flaw_after([](Plan& p) { p.tasks[1].predicted_s = -1; }), "task 1 'forward': its predicted time is -1 s");
}

// Every number of a plan replaced by an extreme one: a flaw or none, never a crash.
TEST(ValidatePlan, SurvivesAnyNumbers) {
  Random random(1);
  const auto any = [&]() -> int64_t {
    const int64_t values[] = {0,
                              1,
                              -1,
                              2,
                              64,
                              kHuge,
                              -kHuge - 1,
                              std::numeric_limits<int32_t>::max(),
                              std::numeric_limits<int32_t>::min(),
                              random.between(-100, 100)};
    return values[random.below(static_cast<int64_t>(std::size(values)))];
  };
  const auto any32 = [&] { return static_cast<int32_t>(any()); };
  const auto some = [&](auto& list) -> auto& {
    return list[static_cast<size_t>(random.below(static_cast<int64_t>(list.size())))];
  };
  const auto any_dims = [&] {
    Dims dims;
    for (int64_t rank = random.below(4); rank > 0; --rank) dims.push_back(any());
    return dims;
  };
  int flaws = 0;
  for (int i = 0; i < 20'000; ++i) {
    Plan plan = small_plan();
    PlanRegister& reg = some(plan.registers);
    PlanTask& task = some(plan.tasks);
    for (int64_t changes = random.between(1, 3); changes > 0; --changes) {
      const std::function<void()> change[] = {
          [&] { plan.rounds = any32(); },
          [&] { some(plan.streams).segments[0].repeat = any32(); },
          [&] { some(plan.streams).device = DeviceId(any32()); },
          [&] { plan.devices[0].arena_bytes[random.below(3)] = any(); },
          [&] { reg.producer = TaskId(any32()); },
          [&] { reg.device = DeviceId(any32()); },
          [&] { reg.shape = any_dims(); },
          [&] { reg.offset = any_dims(); },
          [&] { reg.logical = any_dims(); },
          [&] { reg.bytes = any(); },
          [&] { reg.slots.assign(static_cast<size_t>(random.below(3)), any()); },
          [&] { reg.slot_count = any32(); },
          [&] { reg.every = any32(); },
          [&] { reg.initial = any32(); },
          [&] { task.device = DeviceId(any32()); },
          [&] { task.stream = StreamId(any32()); },
          [&] { task.inputs.push_back({RegisterId(any32()), any32()}); },
          [&] { task.outputs.push_back(RegisterId(any32())); },
          [&] { task.firings_per_step = any32(); },
          [&] { task.scratch_bytes = any(); },
          [&] { task.scratch_offset = any(); },
          [&] { task.shards = any32(); },
          [&] { task.pieces_per_shard = any32(); },
          [&] { plan.variables[0].parts[0] = {RegisterId(any32()), {any_dims(), any_dims()}, any32()}; },
          [&] { plan.outputs[0].shape = any_dims(); },
      };
      change[random.below(static_cast<int64_t>(std::size(change)))]();
    }
    flaws += flaw_in(plan).has_value() ? 1 : 0;
  }
  EXPECT_GT(flaws, 10'000);
  EXPECT_LT(flaws, 20'000);
}

}  // namespace
}  // namespace troupe
