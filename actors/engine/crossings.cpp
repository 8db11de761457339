#include "actors/engine/crossings.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace troupe {
namespace {

// What a task reads of a register, through whichever inputs.
std::vector<ByteRuns> runs_of(const Plan& plan, const KernelTable& kernels, const PlanTask& task, RegisterId id) {
  const PlanRegister& reg = plan.reg(id);
  const KernelReads reads = kernels.reads(task.kernel, DeviceKind::cpu);
  if (reads == nullptr) return {{0, reg.bytes, 1, 0}};
  const TensorView view{nullptr, reg.dtype, reg.shape, reg.offset, reg.logical};
  std::vector<ByteRuns> runs;
  for (size_t i = 0; i < task.inputs.size(); ++i) {
    if (task.inputs[i].reg != id) continue;
    for (const ByteRuns& run : reads(task.attrs, i, view)) runs.push_back(run);
  }
  return runs;
}

int64_t total(const std::vector<ByteRuns>& runs) {
  int64_t bytes = 0;
  for (const ByteRuns& run : runs) bytes += run.total();
  return bytes;
}

}  // namespace

Crossings::Crossings(const Plan& plan, const KernelTable& kernels, const std::function<int(DeviceId)>& process_of) {
  std::map<RegisterId, std::vector<int>> of_register;
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    const TaskId id(static_cast<int64_t>(t));
    const PlanTask& task = plan.tasks[t];
    const int to = process_of(task.device);
    for (const PlanRead& read : task.inputs) {
      const PlanRegister& reg = plan.reg(read.reg);
      if (reg.is_control() || !reg.device.valid() || process_of(reg.device) == to) continue;
      if (by_reader_.contains({id, read.reg})) continue;
      std::vector<ByteRuns> runs = runs_of(plan, kernels, task, read.reg);
      for (const ByteRuns& run : runs) {
        const int64_t end = run.offset + (run.count - 1) * run.stride + run.bytes;
        CHECK(run.offset >= 0 && end <= reg.bytes, task.name, reg.name, end, reg.bytes);
      }
      int number = -1;
      for (int known : of_register[read.reg]) {
        if (at(known).to == to && at(known).runs == runs) number = known;
      }
      if (number < 0) {
        number = count();
        of_register[read.reg].push_back(number);
        const int64_t bytes = total(runs);
        all_.push_back({read.reg, process_of(reg.device), to, std::move(runs), bytes});
        if (!reg.producer.valid() || reg.initial > 0) initial_.push_back({number, id});
      }
      by_reader_[{id, read.reg}] = number;
    }
  }
}

int Crossings::find(TaskId reader, RegisterId reg) const {
  const auto it = by_reader_.find({reader, reg});
  return it == by_reader_.end() ? -1 : it->second;
}

Pieces pieces_of(const std::vector<ByteRuns>& runs, std::byte* slot) {
  Pieces pieces;
  for (const ByteRuns& run : runs) {
    for (int64_t i = 0; i < run.count && run.bytes > 0; ++i) {
      pieces.emplace_back(slot + run.offset + i * run.stride, static_cast<size_t>(run.bytes));
    }
  }
  return pieces;
}

}  // namespace troupe
