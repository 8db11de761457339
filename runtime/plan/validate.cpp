#include "runtime/plan/validate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "runtime/base/text.h"
#include "runtime/plan/flaw.h"

namespace troupe {
namespace {

using namespace plan_checks;

// What kernels may assume of a slot's address; equal to kArenaAlignment of runtime/device.
constexpr int64_t kSlotAlignment = 64;

class Validator {
 public:
  explicit Validator(const Plan& plan) : plan_(plan) {}

  void run() {
    check_whole();
    check_devices();
    check_streams();
    for (size_t i = 0; i < plan_.registers.size(); ++i) check_register(i);
    for (size_t i = 0; i < plan_.tasks.size(); ++i) check_task(i);
    for (size_t i = 0; i < plan_.registers.size(); ++i) check_memory(i);
    check_outputs_of_tasks();
    for (size_t i = 0; i < plan_.tasks.size(); ++i) check_rates(i);
    check_order();
  }

 private:
  auto device_place(size_t i) const { return place_in("device", plan_.devices, i); }
  auto stream_place(size_t i) const { return place_in("stream", plan_.streams, i); }
  auto register_place(size_t i) const { return place_in("register", plan_.registers, i); }
  auto task_place(size_t i) const { return place_in("task", plan_.tasks, i); }

  void check_whole() const {
    const auto where = [] { return std::string("plan"); };
    require(plan_.rounds >= 1, where, [&] { return "rounds is " + number(plan_.rounds) + "; at least 1 is needed"; });
    const size_t limit = std::numeric_limits<int32_t>::max();
    const size_t most =
        std::max({plan_.devices.size(), plan_.streams.size(), plan_.registers.size(), plan_.tasks.size()});
    require(most <= limit, where, [&] { return std::to_string(most) + " entries; ids are 32-bit"; });
  }

  void check_devices() const {
    std::set<std::string> names;
    for (size_t i = 0; i < plan_.devices.size(); ++i) {
      const PlanDevice& device = plan_.devices[i];
      const auto where = device_place(i);
      require(!device.name.empty(), where, [] { return "it has no name"; });
      require(names.insert(device.name).second, where, [] { return "another device has the same name"; });
      for (int64_t bytes : device.arena_bytes) {
        require(bytes >= 0, where, [&] { return "an arena has " + number(bytes) + " bytes"; });
      }
    }
  }

  void check_streams() const {
    for (size_t i = 0; i < plan_.streams.size(); ++i) {
      const PlanStream& stream = plan_.streams[i];
      require_id(stream.device, plan_.devices, stream_place(i), "device");
      for (const PlanSegment& segment : stream.segments) {
        require(segment.repeat >= 1, stream_place(i),
                [&] { return "a segment repeats " + number(segment.repeat) + " times"; });
        for (TaskId task : segment.tasks) require_id(task, plan_.tasks, stream_place(i), "task");
      }
    }
  }

  // What a register says about itself.
  void check_register(size_t i) const {
    const PlanRegister& reg = plan_.registers[i];
    const auto where = register_place(i);
    require_enum(reg.dtype, kLastDType, where, "dtype");
    require_enum(reg.arena, ArenaKind::io, where, "arena");
    if (reg.producer.value != -1) require_id(reg.producer, plan_.tasks, where, "producer");
    require(reg.slot_count >= 1, where, [&] { return "it has " + number(reg.slot_count) + " credits"; });
    require(reg.every >= 1, where, [&] { return "it is complete after every " + number(reg.every) + " firings"; });
    require(reg.initial >= 0 && reg.initial <= reg.slot_count, where, [&] {
      return "it starts with " + number(reg.initial) + " versions, and has " + number(reg.slot_count) + " credits";
    });
    if (reg.is_control()) {
      require(reg.producer.valid(), where, [] { return "a control edge needs a producer"; });
      require(reg.bytes == 0, where, [&] { return "a control edge carries " + number(reg.bytes) + " bytes"; });
      require(reg.device.value == -1, where,
              [&] { return "a control edge lies on device " + number(reg.device.value); });
      return;
    }
    require_id(reg.device, plan_.devices, where, "device");
    require(reg.slots.size() == static_cast<size_t>(reg.slot_count), where, [&] {
      return "it has " + std::to_string(reg.slots.size()) + " slots and " + number(reg.slot_count) + " credits";
    });
    require(reg.producer.valid() || reg.initial >= 1, where, [] { return "no task writes it and it starts empty"; });
    require(bytes_of(reg.dtype, reg.logical).has_value(), where,
            [&] { return "its logical shape [" + reg.logical.str() + "] is not possible"; });
    require(box_within(reg.offset, reg.shape, reg.logical), where, [&] {
      return "its part " + box_text(reg.offset, reg.shape) + " is not inside [" + reg.logical.str() + "]";
    });
    const int64_t needed = *bytes_of(reg.dtype, reg.shape);
    require(reg.bytes >= needed, where, [&] {
      return "a slot has " + number(reg.bytes) + " bytes; " + type_text(reg.dtype, reg.shape) + " needs " +
             number(needed);
    });
  }

  // What a task says about itself.
  void check_task(size_t i) const {
    const PlanTask& task = plan_.tasks[i];
    const auto where = task_place(i);
    require_enum(task.kind, TaskKind::source, where, "task kind");
    require(!task.kernel.empty(), where, [] { return "it names no kernel"; });
    require_id(task.device, plan_.devices, where, "device");
    require_id(task.stream, plan_.streams, where, "stream");
    require(plan_.streams[task.stream.index()].device == task.device, where, [&] {
      return "it is on device " + number(task.device.value) + ", its stream " + number(task.stream.value) +
             " is on device " + number(plan_.streams[task.stream.index()].device.value);
    });
    require(task.firings_per_step == plan_.rounds || task.firings_per_step == 1, where, [&] {
      return "it fires " + number(task.firings_per_step) + " times per step; once or " + number(plan_.rounds) +
             " times (rounds) is possible";
    });
    require(task.first_shard >= 0 && task.shards >= 0 && task.pieces_per_shard >= 1 &&
                int64_t{task.shards} * task.pieces_per_shard <= task.firings_per_step &&
                int64_t{task.first_shard} + task.shards <= std::numeric_limits<int32_t>::max(),
            where, [&] {
              return "it fires " + number(task.firings_per_step) + " times per step for " + number(task.shards) +
                     " shards from " + number(task.first_shard) + " of " + number(task.pieces_per_shard) + " pieces";
            });
    const int64_t workspace = plan_.devices[task.device.index()].arena_bytes[static_cast<int>(ArenaKind::workspace)];
    require(within(task.scratch_offset, task.scratch_bytes, workspace) && task.scratch_offset % kSlotAlignment == 0,
            where, [&] {
              return "its scratch of " + number(task.scratch_bytes) + " bytes at " + number(task.scratch_offset) +
                     " is not inside the workspace of " + number(workspace) + " bytes at a multiple of " +
                     number(kSlotAlignment);
            });
    require(std::isfinite(task.predicted_s) && task.predicted_s >= 0, where,
            [&] { return "its predicted time is " + number_text(task.predicted_s) + " s"; });
    for (const PlanRead& read : task.inputs) require_id(read.reg, plan_.registers, where, "input register");
    for (RegisterId output : task.outputs) require_id(output, plan_.registers, where, "output register");
    const auto is_control = [this](RegisterId id) { return plan_.reg(id).is_control(); };
    require(std::is_partitioned(task.inputs.begin(), task.inputs.end(),
                                [&](const PlanRead& read) { return !is_control(read.reg); }) &&
                std::is_partitioned(task.outputs.begin(), task.outputs.end(), std::not_fn(is_control)),
            where, [] { return "a control edge stands before a tensor"; });
  }

  void check_memory(size_t i) const {
    const PlanRegister& reg = plan_.registers[i];
    const auto where = register_place(i);
    if (reg.is_control()) return;
    require(!reg.producer.valid() || plan_.task(reg.producer).device == reg.device, where, [&] {
      return "it lies on device " + number(reg.device.value) + ", its producer, " + task_place(reg.producer.index())() +
             ", is on device " + number(plan_.task(reg.producer).device.value);
    });
    const int64_t end = plan_.devices[reg.device.index()].arena_bytes[static_cast<int>(reg.arena)];
    for (int64_t slot : reg.slots) {
      require(slot % kSlotAlignment == 0, where,
              [&] { return "a slot is at byte " + number(slot) + ", not a multiple of " + number(kSlotAlignment); });
      require(within(slot, reg.bytes, end), where, [&] {
        return "a slot of " + number(reg.bytes) + " bytes at " + number(slot) + " is outside its arena of " +
               number(end) + " bytes";
      });
    }
    std::vector<int64_t> slots = reg.slots;
    std::sort(slots.begin(), slots.end());
    for (size_t s = 1; s < slots.size(); ++s) {
      require(slots[s] - slots[s - 1] >= reg.bytes, where, [&] {
        return "its slots of " + number(reg.bytes) + " bytes at " + number(slots[s - 1]) + " and " + number(slots[s]) +
               " overlap";
      });
    }
  }

  // A register is an output of its producer, once, and of nobody else.
  void check_outputs_of_tasks() const {
    std::vector<bool> listed(plan_.registers.size(), false);
    for (size_t i = 0; i < plan_.tasks.size(); ++i) {
      for (RegisterId output : plan_.tasks[i].outputs) {
        const TaskId producer = plan_.reg(output).producer;
        require(producer == TaskId(static_cast<int64_t>(i)), task_place(i), [&] {
          return "it writes " + register_place(output.index())() + ", whose producer is task " + number(producer.value);
        });
        require(!listed[output.index()], task_place(i),
                [&] { return "it writes " + register_place(output.index())() + " twice"; });
        listed[output.index()] = true;
      }
    }
    for (size_t i = 0; i < listed.size(); ++i) {
      const TaskId producer = plan_.registers[i].producer;
      require(listed[i] || !producer.valid(), register_place(i),
              [&] { return "its producer, " + task_place(producer.index())() + ", does not write it"; });
    }
  }

  // Versions come and go equally often.
  void check_rates(size_t i) const {
    const PlanTask& task = plan_.tasks[i];
    const auto where = task_place(i);
    for (RegisterId output : task.outputs) {
      const PlanRegister& reg = plan_.reg(output);
      require(task.firings_per_step % reg.every == 0, where, [&] {
        return "it fires " + number(task.firings_per_step) + " times per step, which is no multiple of the " +
               number(reg.every) + " firings after which " + register_place(output.index())() + " is complete";
      });
    }
    for (const PlanRead& read : task.inputs) {
      const PlanRegister& reg = plan_.reg(read.reg);
      const auto place = register_place(read.reg.index());
      require(read.every >= 1 && task.firings_per_step % read.every == 0, where, [&] {
        return "it fires " + number(task.firings_per_step) + " times per step, which is no multiple of the " +
               number(read.every) + " firings for which it holds " + place();
      });
      if (!reg.producer.valid()) continue;
      const int32_t written = plan_.task(reg.producer).firings_per_step / reg.every;
      const int32_t consumed = task.firings_per_step / read.every;
      require(written == consumed, where, [&] {
        return "it consumes " + number(consumed) + " versions of " + place() + " per step; " +
               task_place(reg.producer.index())() + " writes " + number(written);
      });
      require(reg.producer.index() != i || reg.initial >= 1, where,
              [&] { return "it overwrites " + place() + ", which starts empty"; });
    }
  }

  // Per step, streams name each task as often as it fires, and only tasks of their own.
  void check_order() const {
    std::vector<int64_t> named(plan_.tasks.size(), 0);
    for (size_t i = 0; i < plan_.streams.size(); ++i) {
      for (const PlanSegment& segment : plan_.streams[i].segments) {
        for (TaskId id : segment.tasks) {
          const auto where = task_place(id.index());
          const PlanTask& task = plan_.task(id);
          require(task.stream.index() == i, where, [&] {
            return "it belongs to stream " + number(task.stream.value) + ", but " + stream_place(i)() + " names it";
          });
          // Checked as it grows, so that the sum cannot overflow.
          named[id.index()] += segment.repeat;
          require(named[id.index()] <= task.firings_per_step, where, [&] {
            return "its stream names it at least " + number(named[id.index()]) + " times per step; it fires " +
                   number(task.firings_per_step) + " times";
          });
        }
      }
    }
    for (size_t i = 0; i < named.size(); ++i) {
      require(named[i] == plan_.tasks[i].firings_per_step, task_place(i), [&] {
        return "its stream names it " + number(named[i]) + " times per step; it fires " +
               number(plan_.tasks[i].firings_per_step) + " times";
      });
    }
  }

  const Plan& plan_;
};

}  // namespace

std::optional<std::string> flaw_in(const Plan& plan) {
  try {
    Validator(plan).run();
    plan_checks::check_tensors(plan);
    plan_checks::check_promise(plan);
  } catch (const plan_checks::Flaw& flaw) {
    return flaw.text;
  }
  return std::nullopt;
}

void validate(const Plan& plan, const std::string& origin) {
  const std::optional<std::string> flaw = flaw_in(plan);
  if (!flaw) return;
  Fault fault;
  fault.what = origin + " cannot be run: " + *flaw;
  throw FaultError(std::move(fault));
}

}  // namespace troupe
