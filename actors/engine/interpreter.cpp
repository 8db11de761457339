#include "actors/engine/interpreter.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"

namespace troupe {

Interpreter::Interpreter(const Plan& plan, const KernelTable& kernels, SourceMap sources, int64_t first_step)
    : plan_(plan),
      kernels_(kernels),
      sources_(std::move(sources)),
      first_step_(first_step),
      firings_(plan.tasks.size()),
      complete_(plan.registers.size()),
      held_(plan.registers.size()),
      after_(plan.tasks.size()) {
  for (size_t r = 0; r < plan.registers.size(); ++r) complete_[r] = plan.registers[r].initial;
}

Interpreter::Bytes& Interpreter::version(RegisterId reg, int64_t version) {
  Bytes& bytes = held_[reg.index()][version];
  bytes.resize(static_cast<size_t>(plan_.reg(reg).bytes));
  return bytes;
}

void Interpreter::set(RegisterId reg, int64_t v, std::span<const std::byte> bytes) {
  version(reg, v).assign(bytes.begin(), bytes.end());
}

bool Interpreter::can_fire(size_t task) const {
  const PlanTask& of = plan_.tasks[task];
  if (firings_[task] >= steps_ * of.firings_per_step) return false;
  return std::all_of(of.inputs.begin(), of.inputs.end(), [&](const PlanRead& read) {
    const PlanRegister& reg = plan_.reg(read.reg);
    const bool always = reg.is_control() || !reg.producer.valid() || reg.producer.index() == task;
    return always || complete_[read.reg.index()] > firings_[task] / read.every;
  });
}

void Interpreter::run(int64_t steps) {
  steps_ += steps;
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t task = 0; task < plan_.tasks.size(); ++task) {
      while (can_fire(task)) {
        fire(task);
        moved = true;
      }
    }
  }
  for (size_t task = 0; task < plan_.tasks.size(); ++task) {
    CHECK(firings_[task] == steps_ * plan_.tasks[task].firings_per_step, plan_.tasks[task].name, firings_[task]);
  }
}

void Interpreter::run_until(TaskId task, int64_t firing) {
  while (firings_[task.index()] <= firing) run(1);
}

void Interpreter::fire(size_t t) {
  const PlanTask& task = plan_.tasks[t];
  const int64_t n = firings_[t]++;
  const auto in_step = static_cast<int32_t>(n % task.firings_per_step);
  const auto view = [&](RegisterId id, int64_t v) {
    const PlanRegister& reg = plan_.reg(id);
    return TensorView{version(id, v).data(), reg.dtype, reg.shape, reg.offset, reg.logical};
  };
  std::vector<TensorView> outputs;
  std::vector<RegisterId> written;
  std::vector<int64_t> versions;
  for (RegisterId output : task.outputs) {
    const PlanRegister& reg = plan_.reg(output);
    const int64_t v = reg.initial + n / reg.every;
    if (n % reg.every == reg.every - 1) complete_[output.index()] = v + 1;
    if (reg.is_control()) continue;
    const bool overwrites =
        std::any_of(task.inputs.begin(), task.inputs.end(), [&](const PlanRead& read) { return read.reg == output; });
    if (overwrites && n % reg.every == 0) version(output, v) = version(output, v - 1);
    outputs.push_back(view(output, v));
    written.push_back(output);
    versions.push_back(v);
  }
  std::vector<TensorView> inputs;
  for (const PlanRead& read : task.inputs) {
    const PlanRegister& reg = plan_.reg(read.reg);
    if (reg.is_control()) continue;
    int64_t v = n / read.every;
    if (!reg.producer.valid()) v = 0;
    if (reg.producer.index() == t && reg.producer.valid()) v = reg.initial + n / reg.every;
    inputs.push_back(view(read.reg, v));
  }
  std::string failure;
  KernelArgs args;
  args.inputs = inputs;
  args.outputs = outputs;
  args.attrs = &task.attrs;
  args.key = task.key;
  args.firing = {first_step_ + n / task.firings_per_step, 0, 0, in_step, plan_.seed};
  args.failure = &failure;
  if (task.shards > 0) {
    args.firing.shard = task.first_shard + in_step / task.pieces_per_shard;
    args.firing.piece = in_step % task.pieces_per_shard;
  }
  const bool empty = task.shards > 0 && in_step >= task.shards * task.pieces_per_shard;
  if (!empty && task.kind == TaskKind::source) {
    for (const TensorView& out : outputs) {
      sources_.at(task.kernel)->read(args.firing, task.pieces_per_shard, out, &failure);
    }
  } else if (!empty) {
    Stream stream;
    kernels_.find(task.kernel, DeviceKind::cpu)(args, stream);
  }
  CHECK(failure.empty(), task.name, failure);
  after_[t].emplace_back();
  for (size_t o = 0; o < written.size(); ++o) after_[t].back().push_back(version(written[o], versions[o]));
}

std::span<const std::byte> Interpreter::after(TaskId task, int64_t firing, size_t output) const {
  return after_.at(task.index()).at(static_cast<size_t>(firing)).at(output);
}

std::span<const std::byte> Interpreter::newest(RegisterId reg) const {
  return held_[reg.index()].at(complete_[reg.index()] - 1);
}

}  // namespace troupe
