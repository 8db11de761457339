#include "runtime/plan/sample_plans.h"

#include <gtest/gtest.h>

#include "runtime/base/random.h"

namespace troupe {
namespace {

int64_t aligned_64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Builds a plan from the front: every register gets memory at the end of its arena, every task joins its
// stream.
class Builder {
 public:
  explicit Builder(int32_t rounds) { plan.rounds = rounds; }

  DeviceId device(const std::string& name) {
    plan.devices.push_back({name, {0, 0, 0}});
    return DeviceId(static_cast<int64_t>(plan.devices.size()) - 1);
  }

  // Tasks that fire `rounds` times stand in the first segment, the others in the second.
  StreamId stream(DeviceId device, const std::string& name) {
    PlanStream stream;
    stream.name = name;
    stream.device = device;
    stream.segments = {{plan.rounds, {}}, {1, {}}};
    plan.streams.push_back(stream);
    return StreamId(static_cast<int64_t>(plan.streams.size()) - 1);
  }

  RegisterId reg(DeviceId device, const std::string& name, DType dtype, Shape shape, ArenaKind arena, int slots = 1) {
    PlanRegister reg;
    reg.name = name;
    reg.device = device;
    reg.dtype = dtype;
    reg.shape = shape;
    reg.offset = Dims::filled(shape.rank(), 0);
    reg.logical = shape;
    reg.bytes = shape.elements() * size_of(dtype);
    reg.arena = arena;
    int64_t& end = plan.devices[device.index()].arena_bytes[static_cast<int>(arena)];
    for (int i = 0; i < slots; ++i) {
      reg.slots.push_back(end);
      end += aligned_64(reg.bytes);
    }
    reg.slot_count = slots;
    return add(reg);
  }

  RegisterId control(const std::string& name, int32_t credits, int32_t initial) {
    PlanRegister reg;
    reg.name = name;
    reg.slot_count = credits;
    reg.initial = initial;
    return add(reg);
  }

  PlanTask& task(StreamId stream, const std::string& name, const std::string& kernel, std::vector<PlanRead> inputs,
                 std::vector<RegisterId> outputs, bool once = false) {
    PlanTask task;
    task.name = name;
    task.kernel = kernel;
    task.stream = stream;
    task.device = plan.streams[stream.index()].device;
    task.inputs = std::move(inputs);
    task.outputs = std::move(outputs);
    task.firings_per_step = once ? 1 : plan.rounds;
    const TaskId id(static_cast<int64_t>(plan.tasks.size()));
    for (RegisterId output : task.outputs) plan.registers[output.index()].producer = id;
    plan.streams[stream.index()].segments[once ? 1 : 0].tasks.push_back(id);
    plan.tasks.push_back(std::move(task));
    return plan.tasks.back();
  }

  PlanRegister& at(RegisterId id) { return plan.registers[id.index()]; }

  Plan plan;

 private:
  RegisterId add(const PlanRegister& reg) {
    plan.registers.push_back(reg);
    return RegisterId(static_cast<int64_t>(plan.registers.size()) - 1);
  }
};

Attrs random_attrs(Random& random) {
  Attrs attrs;
  if (random.chance(0.5)) attrs.set("dims", std::vector<int64_t>{0, random.between(-5, 5)});
  if (random.chance(0.5)) attrs.set("scale", random.uniform());
  if (random.chance(0.5)) attrs.set("keep", int64_t{1} << random.below(62));
  if (random.chance(0.5)) attrs.set("how", std::string("sum\0 of \xff", 9));
  if (random.chance(0.1)) attrs.set("none", std::vector<int64_t>{});
  return attrs;
}

}  // namespace

Plan small_plan() {
  Builder b(2);
  const DeviceId cpu = b.device("cpu:0");
  const StreamId sources = b.stream(cpu, "cpu:0 source");
  const StreamId compute = b.stream(cpu, "cpu:0 compute");
  b.plan.streams[0].runs_ahead = true;
  b.plan.streams[0].segments.pop_back();
  const RegisterId w = b.reg(cpu, "w", DType::f32, {8, 8}, ArenaKind::variables);
  const RegisterId x = b.reg(cpu, "x", DType::f32, {2, 8}, ArenaKind::io, 2);
  const RegisterId y = b.reg(cpu, "y", DType::f32, {2, 8}, ArenaKind::io, 2);
  const RegisterId dw = b.reg(cpu, "dw", DType::f32, {8, 8}, ArenaKind::workspace);
  const RegisterId free = b.control("free", 1, 1);
  b.at(w).initial = 1;
  b.at(dw).every = 2;
  PlanTask& data = b.task(sources, "data", "corpus", {}, {x});
  data.kind = TaskKind::source;
  data.shards = 2;
  PlanTask& forward = b.task(compute, "forward", "matmul", {{x, 1}, {w, 2}, {free, 1}}, {y});
  forward.shards = 2;
  forward.line = {"train/model.py", 41};
  forward.predicted_s = 1.5e-6;
  b.task(compute, "gradient", "accumulate", {{x, 1}, {y, 1}}, {dw, free}).attrs.set("rounds", int64_t{2});
  PlanTask& update = b.task(compute, "update", "sgd", {{w, 1}, {dw, 1}}, {w}, true);
  update.attrs = {{"lr", 0.1}, {"dims", std::vector<int64_t>{0, 1}}};
  update.key = 99;
  update.scratch_offset = b.plan.devices[0].arena_bytes[1];
  update.scratch_bytes = 64;
  b.plan.devices[0].arena_bytes[1] += 64;
  b.plan.name = "small";
  b.plan.epoch = 3;
  b.plan.seed = 7;
  b.plan.variables = {{"w", DType::f32, {8, 8}, {{w, Box::whole({8, 8}), -1}}}};
  b.plan.outputs = {{"y", DType::f32, {4, 8}, {{y, {{0, 0}, {2, 8}}, 0}, {y, {{2, 0}, {2, 8}}, 1}}}};
  b.plan.promise = {{{"all_reduce", "dp", 3, 1536, 12}}, 0.0012, "forward -> gradient", {576}};
  return b.plan;
}

Plan random_plan(uint64_t seed, int tasks) {
  Random random(seed);
  const int32_t rounds = int32_t{1} << random.below(3);
  Builder b(rounds);
  const int devices = static_cast<int>(random.between(1, 4));
  const int layers = std::max(1, tasks / (3 * devices));
  for (int d = 0; d < devices; ++d) {
    const DeviceId device = b.device("cpu:" + std::to_string(d));
    const StreamId sources = b.stream(device, "source");
    const StreamId compute = b.stream(device, "compute");
    b.plan.streams[sources.index()].runs_ahead = true;
    RegisterId x = b.reg(device, "x", DType::u8, {3, random.between(0, 9)}, ArenaKind::io, 2);
    PlanTask& source = b.task(sources, "data", "data", {}, {x});
    source.kind = TaskKind::source;
    source.first_shard = d * rounds;
    source.shards = rounds;
    for (int layer = 0; layer < layers; ++layer) {
      const std::string name = "layer." + std::to_string(layer);
      const int64_t rows = random.between(0, 9);
      const RegisterId w = b.reg(device, name + ".w", DType::f64, {rows, 3}, ArenaKind::variables);
      b.at(w).initial = 1;
      b.at(w).offset = {rows * d, 0};
      b.at(w).logical = {rows * devices, 3};
      const RegisterId y = b.reg(device, name + ".y", DType::f32, {2, 1, rows, 4, 1, 1, 1, 1}, ArenaKind::workspace, 3);
      const RegisterId dw = b.reg(device, name + ".dw", DType::f64, {rows, 3}, ArenaKind::workspace);
      b.at(dw).every = rounds;
      const RegisterId free = b.control(name + ".free", 2, 2);
      PlanTask& forward = b.task(compute, name, "layer", {{x, 1}, {w, rounds}}, {y});
      forward.attrs = random_attrs(random);
      forward.key = random.next();
      forward.line = {"model.py", static_cast<int>(random.below(100))};
      forward.predicted_s = random.uniform();
      b.task(compute, name + ".backward", "layer_grad", {{x, 1}, {y, 1}, {free, 1}}, {dw, free});
      b.task(compute, name + ".update", "adam", {{w, 1}, {dw, 1}}, {w}, true).attrs = random_attrs(random);
      const RegisterId mask = b.reg(device, name + ".mask", DType::b8, {rows}, ArenaKind::variables);  // never written
      b.at(mask).initial = 1;
      b.plan.tasks.back().inputs.push_back({mask, 1});
      if (d == 0) b.plan.variables.push_back({name + ".w", DType::f64, {rows * devices, 3}, {}});
      b.plan.variables[static_cast<size_t>(layer)].parts.push_back({w, {{0, 0}, {rows, 3}}, -1});
      x = y;
    }
  }
  for (PlanVariable& variable : b.plan.variables) {  // every device drew its own rows
    int64_t rows = 0;
    for (PlanPart& part : variable.parts) {
      PlanRegister& reg = b.at(part.reg);
      reg.offset = part.box.offset = {rows, 0};
      rows += part.box.extent[0];
    }
    variable.shape = {rows, 3};
    for (const PlanPart& part : variable.parts) b.at(part.reg).logical = variable.shape;
    b.plan.outputs.push_back({variable.name, variable.dtype, variable.shape, variable.parts});
  }
  b.plan.name = "random " + std::to_string(seed);
  b.plan.epoch = random.next();
  b.plan.seed = random.next();
  b.plan.promise.step_s = random.uniform();
  b.plan.promise.peak.assign(static_cast<size_t>(devices), random.below(1 << 20));
  return b.plan;
}

}  // namespace troupe
