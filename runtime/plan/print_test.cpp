#include "runtime/plan/print.h"

#include <gtest/gtest.h>

#include "runtime/plan/sample_plans.h"

namespace troupe {
namespace {

TEST(PrintPlan, ShowsEverythingThatIsNotUsual) {
  EXPECT_EQ(to_text(small_plan()), R"(plan 'small': epoch 3, seed 7, rounds 2
devices
  0 cpu:0: variables 256, workspace 320, io 256
streams
  0 cpu:0 source, device 0, runs ahead: 2 x (0 data)
  1 cpu:0 compute, device 0: 2 x (1 forward, 2 gradient), 1 x (3 update)
tasks
  0 data: x#1 = source corpus() on cpu:0 stream 0; 2 per step; shards 0..1
  1 forward: y#2 = matmul(x#1, w#0 every 2, after free#4) on cpu:0 stream 1; 2 per step; shards 0..1; 1.5 us (model.py:41)
  2 gradient: dw#3, then free#4 = accumulate(x#1, y#2) on cpu:0 stream 1; 2 per step; rounds=2
  3 update: w#0 = sgd(w#0, dw#3) on cpu:0 stream 1; dims=[0,1], lr=0.1; key 99; scratch 64 bytes at 256
registers
  0 w: f32[8,8] at [0,0] of [8,8], variables 0, 256 bytes; by 3 update; initial 1
  1 x: f32[2,8] at [0,0] of [2,8], io 0 64, 64 bytes; by 0 data
  2 y: f32[2,8] at [0,0] of [2,8], io 128 192, 64 bytes; by 1 forward
  3 dw: f32[8,8] at [0,0] of [8,8], workspace 0, 256 bytes; by 2 gradient every 2
  4 free: control, 1 credit; by 2 gradient; initial 1
variables
  w: f32[8,8] = w#0[0:8,0:8]
outputs
  y: f32[4,8] = y#2[0:2,0:8] of piece 0, y#2[2:4,0:8] of piece 1
promise
  all_reduce on dp: 3 per step, 1536 bytes, 12 messages
  step 1.2 ms: forward -> gradient
  peak 576
)");
}

TEST(PrintPlan, ShowsIdsThatPointNowhere) {
  Plan plan;
  plan.tasks.resize(1);
  plan.tasks[0].name = "lost";
  plan.tasks[0].inputs = {{RegisterId(7), 1}};
  plan.registers.resize(1);
  plan.registers[0].name = "w";
  plan.registers[0].slots = {0};
  EXPECT_EQ(to_text(plan), R"(plan '': epoch 0, seed 0, rounds 1
devices
streams
tasks
  0 lost: (?#7) on ? stream -1
registers
  0 w: f32[] at [] of [], workspace 0, 0 bytes; never written, on ?
variables
outputs
promise
)");
}

}  // namespace
}  // namespace troupe
