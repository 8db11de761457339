// The plan: everything a worker needs to run and nothing it has to decide. A plain value; the serialized form is in
// plan.capnp, the text form in print.h, the checks a worker makes before it trusts one in validate.h.
//
// Rates. A step of training sends `rounds` pieces through every device. A task fires `firings_per_step` times per
// step: `rounds` times, or once. Between tasks of different rates stand two numbers:
//   Register::every   the producer completes a version on the last of every so many firings (an accumulator: rounds)
//   Read::every       the consumer holds a version for so many firings and frees it after the last (a parameter read
//                     by the forward pass: rounds)
// Both are 1 nearly always.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/attrs.h"
#include "runtime/base/box.h"
#include "runtime/base/dtype.h"
#include "runtime/base/error.h"
#include "runtime/base/id.h"
#include "runtime/base/shape.h"

namespace troupe {

// The memory a register lies in. Offsets are bytes from the start of that arena on the register's device.
enum class ArenaKind : uint8_t {
  variables,  // outlives the plan; all plans of an epoch agree on what lies where
  workspace,  // shared by all plans of an epoch, which run one after another
  io,         // of this plan alone: what sources have read ahead, what the driver fetches
};
constexpr int kArenaKinds = 3;

struct PlanDevice {
  std::string name;  // "cpu:0"
  int64_t arena_bytes[kArenaKinds] = {0, 0, 0};
  bool operator==(const PlanDevice&) const = default;
};

// An output buffer of a task, of 1..n slots. With no slots it is a control edge: it carries order, not bytes.
struct PlanRegister {
  std::string name;  // the value it holds: "blocks.0.mlp.up.y"
  TaskId producer;   // invalid: a variable that this plan never writes; it is always there
  DeviceId device;   // whose arena it lies in: the producer's, where it has one; invalid for a control edge
  DType dtype = DType::f32;
  Shape shape;        // what this device holds (of one piece)
  Dims offset;        // where that lies in the logical tensor (of one piece)
  Shape logical;      // shape of the logical tensor (of one piece)
  int64_t bytes = 0;  // of a slot; an accumulator with several tree nodes holds more than its shape
  ArenaKind arena = ArenaKind::workspace;
  std::vector<int64_t> slots;  // byte offset of each slot; empty: a control edge
  int32_t slot_count = 1;      // credits; equals slots.size() unless it is a control edge
  int32_t every = 1;
  int32_t initial = 0;  // versions present before the first firing (variables: 1; control edges: 0..slot_count)
  bool is_control() const { return slots.empty(); }
  bool operator==(const PlanRegister&) const = default;
};

struct PlanRead {
  RegisterId reg;
  int32_t every = 1;
  bool operator==(const PlanRead&) const = default;
};

enum class TaskKind : uint8_t {
  compute,  // runs the kernel named by `kernel`
  source,   // asks the Source named by `kernel` to fill its outputs
};

struct PlanTask {
  std::string name;  // "blocks.0.mlp.up.matmul"
  TaskKind kind = TaskKind::compute;
  std::string kernel;  // the entry of the kernel table, or the name of the source
  DeviceId device;
  StreamId stream;
  std::vector<PlanRead> inputs;     // in the order of the kernel's inputs; then control edges. A read of a register
                                    // that the task itself produces is the version it overwrites
  std::vector<RegisterId> outputs;  // in the order of the kernel's outputs; then control edges
  Attrs attrs;
  uint64_t key = 0;            // of the node's path, for random numbers
  int64_t scratch_offset = 0;  // in the workspace arena
  int64_t scratch_bytes = 0;
  int32_t firings_per_step = 1;
  // Which pieces come by: firing f of a step (f < shards * pieces_per_shard) is piece f % pieces_per_shard of batch
  // shard first_shard + f / pieces_per_shard; a later firing is empty: it passes tokens on and runs no kernel.
  // shards = 0: the task belongs to no shard and every firing runs.
  int32_t first_shard = 0;
  int32_t shards = 0;
  int32_t pieces_per_shard = 1;
  SourceLine line;         // the user's line
  double predicted_s = 0;  // of one firing, under the profile
  bool operator==(const PlanTask&) const = default;
};

// A stream's order: per step, each segment's tasks in order, the segment repeated so many times.
struct PlanSegment {
  int32_t repeat = 1;
  std::vector<TaskId> tasks;
  bool operator==(const PlanSegment&) const = default;
};

struct PlanStream {
  std::string name;  // "cpu:0 compute"
  DeviceId device;
  bool runs_ahead = false;  // sources: not held back at step boundaries, only by their slots
  std::vector<PlanSegment> segments;
  bool operator==(const PlanStream&) const = default;
};

// A part of a variable or of an output, held in a register.
struct PlanPart {
  RegisterId reg;
  Box box;             // in the logical tensor
  int32_t piece = -1;  // outputs of the piece rate: the slot's piece in the step's batch; else -1
  bool operator==(const PlanPart&) const = default;
};

struct PlanVariable {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;                  // logical
  std::vector<PlanPart> parts;  // all copies on all devices
  bool operator==(const PlanVariable&) const = default;
};

// A value that the driver fetches after a step: the parts that together hold it once.
struct PlanOutput {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;  // logical; of the whole step's batch where it has a batch dim
  std::vector<PlanPart> parts;
  bool operator==(const PlanOutput&) const = default;
};

// What the planner promises about the plan, by kind, so that a run can be held against it.
struct PlanTraffic {
  std::string kind;      // "all_reduce"
  std::string axis;      // "dp"
  int64_t count = 0;     // collectives per step, merged ones counted once
  int64_t bytes = 0;     // per step, received by all devices together
  int64_t messages = 0;  // per step
  bool operator==(const PlanTraffic&) const = default;
};

struct PlanPromise {
  std::vector<PlanTraffic> traffic;
  double step_s = 0;          // the step time no run can beat, under the profile
  std::string critical;       // the critical cycle by name
  std::vector<int64_t> peak;  // bytes of live slots at the peak, per device
  bool operator==(const PlanPromise&) const = default;
};

struct Plan {
  std::string name;
  uint64_t epoch = 0;
  uint64_t seed = 0;
  int32_t rounds = 1;
  std::vector<PlanDevice> devices;
  std::vector<PlanStream> streams;
  std::vector<PlanRegister> registers;
  std::vector<PlanTask> tasks;
  std::vector<PlanVariable> variables;
  std::vector<PlanOutput> outputs;
  PlanPromise promise;

  const PlanTask& task(TaskId id) const { return tasks.at(id.index()); }
  const PlanRegister& reg(RegisterId id) const { return registers.at(id.index()); }
  bool operator==(const Plan&) const = default;
};

}  // namespace troupe
