#include "actors/engine/plan_builder.h"

#include <algorithm>
#include <utility>

#include "runtime/base/random.h"
#include "runtime/device/arena.h"

namespace troupe {

PlanBuilder::PlanBuilder(std::string name, int32_t rounds) {
  plan_.name = std::move(name);
  plan_.rounds = rounds;
}

DeviceId PlanBuilder::device(const std::string& name) {
  plan_.devices.push_back({name, {0, 0, 0}});
  return DeviceId(static_cast<int64_t>(plan_.devices.size()) - 1);
}

StreamId PlanBuilder::stream(DeviceId device, const std::string& name, bool runs_ahead) {
  plan_.streams.push_back({name, device, runs_ahead, {}});
  return StreamId(static_cast<int64_t>(plan_.streams.size()) - 1);
}

TaskId PlanBuilder::task(StreamId stream, const std::string& name, const std::string& kernel, int32_t firings) {
  PlanTask task;
  task.name = name;
  task.kernel = kernel;
  task.stream = stream;
  task.device = plan_.streams[stream.index()].device;
  task.key = hash_path(name);
  task.firings_per_step = firings < 0 ? plan_.rounds : firings;
  plan_.tasks.push_back(task);
  return TaskId(static_cast<int64_t>(plan_.tasks.size()) - 1);
}

TaskId PlanBuilder::source(StreamId stream, const std::string& name, const std::string& source) {
  const TaskId id = task(stream, name, source);
  at(id).kind = TaskKind::source;
  return id;
}

RegisterId PlanBuilder::add(DeviceId device, TaskId producer, const Register& reg) {
  PlanRegister made;
  made.name = reg.name;
  made.producer = producer;
  made.slot_count = reg.slots;
  made.every = reg.every;
  made.initial = reg.initial;
  made.arena = reg.arena;
  made.dtype = reg.dtype;
  if (!reg.control) {
    made.device = device;
    made.shape = made.logical = Dims{reg.elements};
    made.offset = Dims{0};
    made.bytes = reg.elements * size_of(reg.dtype);
    made.slots.resize(static_cast<size_t>(reg.slots));
  }
  plan_.registers.push_back(made);
  return RegisterId(static_cast<int64_t>(plan_.registers.size()) - 1);
}

RegisterId PlanBuilder::output(TaskId producer, const Register& reg) {
  const RegisterId id = add(at(producer).device, producer, reg);
  at(producer).outputs.push_back(id);
  return id;
}

RegisterId PlanBuilder::constant(DeviceId device, const Register& reg) {
  Register one = reg;
  one.initial = 1;
  return add(device, TaskId(), one);
}

void PlanBuilder::read(TaskId reader, RegisterId reg, int32_t every) { at(reader).inputs.push_back({reg, every}); }

void PlanBuilder::share_bytes(RegisterId a, RegisterId b, int64_t offset) { shared_.push_back({a, b, offset}); }

void PlanBuilder::segment(StreamId stream, int32_t repeat, std::vector<TaskId> tasks) {
  plan_.streams[stream.index()].segments.push_back({repeat, std::move(tasks)});
}

void PlanBuilder::variable(const std::string& name, RegisterId reg) {
  plan_.variables.push_back({name, at(reg).dtype, at(reg).shape, {{reg, Box::whole(at(reg).shape), -1}}});
}

void PlanBuilder::fetched(const std::string& name, RegisterId reg) {
  plan_.outputs.push_back({name, at(reg).dtype, at(reg).shape, {{reg, Box::whole(at(reg).shape), -1}}});
}

Plan PlanBuilder::finish() {
  // Tensors before control edges, as plans list them.
  const auto is_tensor = [this](RegisterId reg) { return !at(reg).is_control(); };
  for (PlanTask& task : plan_.tasks) {
    std::stable_partition(task.outputs.begin(), task.outputs.end(), is_tensor);
    std::stable_partition(task.inputs.begin(), task.inputs.end(),
                          [&](const PlanRead& read) { return is_tensor(read.reg); });
  }
  for (size_t r = 0; r < plan_.registers.size(); ++r) {
    PlanRegister& reg = plan_.registers[r];
    const RegisterId id(static_cast<int64_t>(r));
    const bool lies_elsewhere =
        std::any_of(shared_.begin(), shared_.end(), [&](const Within& each) { return each.part == id; });
    reg.slots.resize(reg.device.valid() ? static_cast<size_t>(reg.slot_count) : 0);
    if (lies_elsewhere || reg.is_control()) continue;
    int64_t& end = plan_.devices[reg.device.index()].arena_bytes[static_cast<int>(reg.arena)];
    for (int64_t& slot : reg.slots) {
      slot = end;
      end += aligned(std::max<int64_t>(reg.bytes, 1));
    }
  }
  for (const Within& each : shared_) at(each.part).slots = {at(each.whole).slots.front() + each.offset};
  for (PlanTask& task : plan_.tasks) {
    if (task.scratch_bytes == 0) continue;
    int64_t& end = plan_.devices[task.device.index()].arena_bytes[static_cast<int>(ArenaKind::workspace)];
    task.scratch_offset = end;
    end += aligned(task.scratch_bytes);
  }
  for (size_t s = 0; s < plan_.streams.size(); ++s) {
    PlanStream& stream = plan_.streams[s];
    if (!stream.segments.empty()) continue;
    PlanSegment pieces{plan_.rounds, {}};
    PlanSegment once{1, {}};
    for (size_t t = 0; t < plan_.tasks.size(); ++t) {
      if (plan_.tasks[t].stream.index() != s) continue;
      const bool per_piece = plan_.tasks[t].firings_per_step == plan_.rounds;
      (per_piece ? pieces : once).tasks.push_back(TaskId(static_cast<int64_t>(t)));
    }
    if (!pieces.tasks.empty()) stream.segments.push_back(pieces);
    if (!once.tasks.empty()) stream.segments.push_back(once);
  }
  return plan_;
}

}  // namespace troupe
