#include "actors/engine/ports.h"

#include <algorithm>

namespace troupe {

Ports::Ports(const Plan& plan) : inputs(plan.tasks.size()), readers(plan.registers.size()) {
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    const TaskId id(static_cast<int64_t>(t));
    for (const PlanRead& read : plan.tasks[t].inputs) {
      const TaskId producer = plan.reg(read.reg).producer;
      if (!producer.valid() || producer == id || port_of(id, read) >= 0) continue;
      readers[read.reg.index()].push_back({id, static_cast<int32_t>(inputs[t].size()), read.every});
      inputs[t].push_back(read);
    }
  }
}

int32_t Ports::port_of(TaskId task, const PlanRead& read) const {
  const auto& ports = inputs[task.index()];
  const auto it = std::find(ports.begin(), ports.end(), read);
  return it == ports.end() ? -1 : static_cast<int32_t>(it - ports.begin());
}

UnderWay messages_under_way(const Plan& plan, const Ports& ports, const std::vector<int>& executor_of) {
  UnderWay under_way;
  for (size_t r = 0; r < plan.registers.size(); ++r) {
    const PlanRegister& reg = plan.registers[r];
    if (!reg.producer.valid()) continue;
    const int producer = executor_of[plan.task(reg.producer).stream.index()];
    for (const ReaderPort& reader : ports.readers[r]) {
      const int at = executor_of[plan.task(reader.task).stream.index()];
      if (at == producer) continue;
      under_way[{producer, at}] += reg.slot_count;  // ready
      under_way[{at, producer}] += reg.slot_count;  // freed
    }
  }
  return under_way;
}

}  // namespace troupe
