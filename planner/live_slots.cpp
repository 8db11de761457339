#include "planner/live_slots.h"

#include <algorithm>
#include <utility>

#include "planner/emit.h"

namespace troupe {
namespace {

class LiveSlots {
 public:
  LiveSlots(TaskGraph& graph, const Choices& choices, Plan plan)
      : graph_(graph),
        choices_(choices),
        plan_(std::move(plan)),
        tasks_(task_instances(graph, choices)),
        registers_(register_instances(graph, choices)) {}

  // Given a cycle of the plan.
  bool add(Unrolled unrolled, std::vector<int> cycle) {
    bool added = false;
    while (!cycle.empty()) {
      const int reg = smallest_full(unrolled, cycle);
      if (reg < 0) break;
      add_slot(reg);
      added = true;
      unrolled = unroll(plan_);
      cycle = tokenless_cycle(unrolled.graph);
    }
    return added;
  }

 private:
  void add_slot(int reg) {
    ++graph_.registers[static_cast<size_t>(reg)].slots;
    for (size_t r = 0; r < registers_.size(); ++r) {
      if (registers_[r].index == reg) ++plan_.registers[r].slot_count;
    }
  }

  const ClassTask& class_task(TaskId task) const {
    return graph_.tasks[static_cast<size_t>(tasks_[task.index()].index)];
  }
  int stage(TaskId task) const { return choices_.beside(class_task(task).stage); }

  // Of the registers for whose slots the cycle waits between stages; -1: none.
  int smallest_full(const Unrolled& unrolled, const std::vector<int>& cycle) const {
    int smallest = -1;
    for (size_t i = 0; i < cycle.size(); ++i) {
      const Unrolled::Vertex& reader = unrolled.vertices[static_cast<size_t>(cycle[i])];
      const Unrolled::Vertex& writer = unrolled.vertices[static_cast<size_t>(cycle[(i + 1) % cycle.size()])];
      if (stage(reader.task) == stage(writer.task)) continue;
      for (const PlanRead& read : plan_.task(reader.task).inputs) {
        const PlanRegister& reg = plan_.reg(read.reg);
        if (reg.producer != writer.task || reg.is_control() || reg.arena != ArenaKind::workspace) continue;
        // The writer's version goes where the reader's was.
        if (reader.firing / read.every + reg.slot_count != writer.firing / reg.every) continue;
        const int full = registers_[read.reg.index()].index;
        if (smallest < 0 || bytes(full) < bytes(smallest)) smallest = full;
      }
    }
    return smallest;
  }

  // Of a slot, on the device that holds most.
  int64_t bytes(int reg) const {
    const std::vector<int64_t>& by_class = graph_.registers[static_cast<size_t>(reg)].bytes;
    return *std::max_element(by_class.begin(), by_class.end());
  }

  TaskGraph& graph_;
  const Choices& choices_;
  Plan plan_;
  const std::vector<Instance> tasks_;      // by TaskId
  const std::vector<Instance> registers_;  // by RegisterId; control edges follow
};

}  // namespace

bool add_live_slots(TaskGraph& graph, const Choices& choices, const Plan& plan, const Unrolled& unrolled) {
  std::vector<int> cycle = tokenless_cycle(unrolled.graph);
  return !cycle.empty() && LiveSlots(graph, choices, plan).add(unrolled, std::move(cycle));
}

}  // namespace troupe
