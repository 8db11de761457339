// The text of a plan, for people and for golden tests.
//
// Every entry is one line that starts with its id. A register is written as NAME#ID, since devices have
// registers of the same name; control edges stand last, after "after" (inputs) and "then" (outputs):
//
//   plan 'train': epoch 1, seed 7, rounds 2
//   devices
//     0 cpu:0: variables 192, workspace 256, io 128
//   streams
//     0 cpu:0 compute, device 0: 2 x (0 forward, 1 backward), 1 x (2 update)
//   tasks
//     0 forward: y#1 = matmul(x#0, w#2 every 2, after free#7) on cpu:0 stream 0; 2 per step; shards 0..1; 1.2
//     us (model.py:41)
//   registers
//     1 y: f32[4,8] at [0,0] of [4,8], workspace 0 64, 128 bytes; by 0 forward
//   variables
//     w: f32[8,8] = w#2[0:8,0:8]
//   outputs
//     loss: f32[] = loss#5[]
//   promise
//     all_reduce on dp: 3 per step, 1536 bytes, 12 messages
//     step 1.2 ms: forward -> update
//     peak 512
//
// What has its usual value is left out (every 1, 1 firing per step, no scratch, no attributes ...). Any plan
// prints, also one that validate.h refuses.
#pragma once

#include <string>

#include "runtime/plan/plan.h"

namespace troupe {

std::string to_text(const Plan& plan);

}  // namespace troupe
