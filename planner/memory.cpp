#include "planner/memory.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

class MemoryStage {
 public:
  MemoryStage(TaskGraph& graph, const Program& program, const Choices& choices)
      : graph_(graph), program_(program), choices_(choices) {}

  MemoryPlan run() {
    for (size_t t = 0; t < graph_.tasks.size(); ++t) {
      if (graph_.tasks[t].segment != Segment::piece) continue;
      if (first_piece_ < 0) first_piece_ = static_cast<int>(t);
      last_piece_ = static_cast<int>(t);
    }
    for (const ClassRegister& reg : graph_.registers) plan_.lifetimes.push_back(lifetime(reg));
    share_in_place();
    graph_.arena_bytes.assign(static_cast<size_t>(graph_.classes()), std::vector<int64_t>(kArenaKinds, 0));
    place_variables();
    for (int c = 0; c < graph_.classes(); ++c) {
      place_io(c);
      place_workspace(c);
    }
    place_arenas();
    return std::move(plan_);
  }

 private:
  Segment segment(int task) const { return graph_.tasks[static_cast<size_t>(task)].segment; }

  Lifetime lifetime(const ClassRegister& reg) const {
    Lifetime life{std::max(reg.producer, 0), std::max(reg.producer, 0), 0};
    for (const std::vector<int>* list : {&reg.readers, &reg.pullers}) {
      for (int reader : *list) {
        life.last = std::max(life.last, reader);
        // Written once, read with every piece: held until the last piece is through.
        if (segment(reader) == Segment::piece && reg.producer >= 0 && segment(reg.producer) != Segment::piece) {
          life.last = std::max(life.last, last_piece_);
        }
      }
    }
    // An accumulator is written from the first piece on.
    if (reg.accumulates && choices_.rounds() > 1) life.first = first_piece_;
    if (spans_turns(graph_, reg)) {
      life.first = first_piece_;
      life.last = std::max(life.last, last_piece_);
    }
    return life;
  }

  bool may_be_shared(const ClassRegister& reg) const {
    return reg.arena == ArenaKind::workspace && reg.slots == 1 && !reg.accumulates && !spans_turns(graph_, reg);
  }

  // An output may take an input's memory when nobody reads the input later.
  void share_in_place() {
    plan_.buffer_of.assign(graph_.registers.size(), -1);
    for (size_t r = 0; r < graph_.registers.size(); ++r) {
      if (graph_.registers[r].arena == ArenaKind::workspace) plan_.buffer_of[r] = static_cast<int>(r);
    }
    // A slice of a sum may lie where the whole sum will.
    for (size_t r = 0; r < graph_.registers.size(); ++r) {
      ClassRegister& slice = graph_.registers[r];
      if (!slice.sliced()) continue;
      slice.in_whole = may_be_shared(slice) && may_be_shared(graph_.registers[static_cast<size_t>(slice.whole)]);
      if (slice.in_whole) plan_.buffer_of[r] = slice.whole;
    }
    for (size_t t = 0; t < graph_.tasks.size(); ++t) {
      const ClassTask& task = graph_.tasks[t];
      const ProgramNode& node = program_.node(task.node);
      if (node.kind != NodeKind::compute) continue;
      std::vector<int> taken;
      for (const auto& [output, input] : node.op->in_place) {
        if (static_cast<size_t>(input) >= task.inputs.size()) continue;
        const int from = task.inputs[static_cast<size_t>(input)];
        const int to = task.outputs[static_cast<size_t>(output)];
        const bool free_to_take = std::find(taken.begin(), taken.end(), from) == taken.end() &&
                                  plan_.buffer_of[static_cast<size_t>(to)] == to;
        if (!free_to_take || !can_take(static_cast<int>(t), task, from, to)) continue;
        taken.push_back(from);
        taken.push_back(to);
        plan_.buffer_of[static_cast<size_t>(to)] = plan_.buffer_of[static_cast<size_t>(from)];
      }
    }
  }

  bool can_take(int t, const ClassTask& task, int from, int to) const {
    const ClassRegister& old_reg = graph_.registers[static_cast<size_t>(from)];
    const ClassRegister& new_reg = graph_.registers[static_cast<size_t>(to)];
    if (!may_be_shared(old_reg) || !may_be_shared(new_reg)) return false;
    if (old_reg.producer < 0 || segment(old_reg.producer) != task.segment) return false;
    if (plan_.lifetimes[static_cast<size_t>(from)].last != t || old_reg.bytes != new_reg.bytes) return false;
    // The old tensor is read as one operand only, and by nobody else at this time.
    if (std::count(task.inputs.begin(), task.inputs.end(), from) != 1) return false;
    return std::find(old_reg.pullers.begin(), old_reg.pullers.end(), t) == old_reg.pullers.end();
  }

  void place_variables() {
    std::vector<int64_t> end = choices_.variables_end;
    end.resize(choices_.devices.size(), 0);
    for (ClassRegister& reg : graph_.registers) {
      if (reg.arena != ArenaKind::variables) continue;
      reg.variable_offsets.clear();
      const auto bound = choices_.variables.find(reg.name);
      if (bound != choices_.variables.end()) {
        reg.variable_offsets = bound->second.offsets;
        continue;
      }
      for (int position = 0; position < choices_.positions(); ++position) {
        int64_t& device_end = end[choices_.device_at(position).index()];
        reg.variable_offsets.push_back(device_end);
        device_end += aligned(reg.bytes[static_cast<size_t>(graph_.class_of[static_cast<size_t>(position)])]);
      }
    }
    variables_end_ = std::move(end);
  }

  int64_t& arena(int c, ArenaKind kind) {
    return graph_.arena_bytes[static_cast<size_t>(c)][static_cast<size_t>(kind)];
  }

  // A device that is of several stages has an arena for each, one after the other.
  void place_arenas() {
    std::vector<std::vector<int64_t>> end(choices_.devices.size(), std::vector<int64_t>(kArenaKinds, 0));
    for (size_t d = 0; d < end.size(); ++d) end[d][static_cast<size_t>(ArenaKind::variables)] = variables_end_[d];
    graph_.arena_begin.clear();
    graph_.arena_end.clear();
    for (int position = 0; position < choices_.positions(); ++position) {
      std::vector<int64_t>& of_device = end[choices_.device_at(position).index()];
      const std::vector<int64_t>& bytes =
          graph_.arena_bytes[static_cast<size_t>(graph_.class_of[static_cast<size_t>(position)])];
      graph_.arena_begin.push_back(of_device);
      for (size_t kind = 0; kind < bytes.size(); ++kind) of_device[kind] += bytes[kind];
      graph_.arena_end.push_back(of_device);
    }
  }

  void place_io(int c) {
    for (ClassRegister& reg : graph_.registers) {
      if (reg.arena != ArenaKind::io) continue;
      reg.offsets[static_cast<size_t>(c)] = arena(c, ArenaKind::io);
      arena(c, ArenaKind::io) += aligned(reg.bytes[static_cast<size_t>(c)]) * reg.slots;
    }
  }

  void place_workspace(int c) {
    const auto index = static_cast<size_t>(c);
    std::vector<Lifetime> buffers;
    std::vector<int> place_of_buffer(graph_.registers.size(), -1);
    for (size_t r = 0; r < graph_.registers.size(); ++r) {
      const int buffer = plan_.buffer_of[r];
      if (buffer < 0) continue;
      int& place = place_of_buffer[static_cast<size_t>(buffer)];
      Lifetime life = plan_.lifetimes[r];
      life.bytes = aligned(graph_.registers[r].bytes[index]) * graph_.registers[r].slots;
      if (place < 0) {
        place = static_cast<int>(buffers.size());
        buffers.push_back(life);
      } else {
        Lifetime& whole = buffers[static_cast<size_t>(place)];
        whole.first = std::min(whole.first, life.first);
        whole.last = std::max(whole.last, life.last);
        whole.bytes = std::max(whole.bytes, life.bytes);
      }
    }
    const size_t first_scratch = buffers.size();
    for (size_t t = 0; t < graph_.tasks.size(); ++t) {
      buffers.push_back({static_cast<int>(t), static_cast<int>(t), graph_.tasks[t].scratch_bytes[index]});
    }
    const Packing packing = pack(buffers);
    for (size_t r = 0; r < graph_.registers.size(); ++r) {
      if (plan_.buffer_of[r] < 0) continue;
      const int place = place_of_buffer[static_cast<size_t>(plan_.buffer_of[r])];
      graph_.registers[r].offsets[index] = packing.offsets[static_cast<size_t>(place)];
    }
    for (size_t t = 0; t < graph_.tasks.size(); ++t) {
      graph_.tasks[t].scratch_offset[index] = packing.offsets[first_scratch + t];
    }
    arena(c, ArenaKind::workspace) = packing.bytes;
  }

  TaskGraph& graph_;
  const Program& program_;
  const Choices& choices_;
  int first_piece_ = -1;
  int last_piece_ = -1;
  std::vector<int64_t> variables_end_;  // by device
  MemoryPlan plan_;
};

// The task at which the workspace of a class is fullest.
int fullest(const TaskGraph& graph, const MemoryPlan& memory, size_t c) {
  std::vector<int64_t> change(graph.tasks.size() + 1, 0);
  for (size_t r = 0; r < graph.registers.size(); ++r) {
    if (memory.buffer_of[r] != static_cast<int>(r)) continue;
    const int64_t bytes = graph.registers[r].bytes[c] * graph.registers[r].slots;
    change[static_cast<size_t>(memory.lifetimes[r].first)] += bytes;
    change[static_cast<size_t>(memory.lifetimes[r].last) + 1] -= bytes;
  }
  int64_t live = 0;
  int64_t most = -1;
  int at = 0;
  for (size_t t = 0; t < graph.tasks.size(); ++t) {
    live += change[t];
    if (live > most) {
      most = live;
      at = static_cast<int>(t);
    }
  }
  return at;
}

}  // namespace

MemoryPlan plan_memory(TaskGraph& graph, const Program& program, const Choices& choices) {
  return MemoryStage(graph, program, choices).run();
}

MemoryNeed memory_need(const TaskGraph& graph, const Choices& choices, bool of_hosts) {
  MemoryNeed most;
  for (int position = 0; position < choices.positions(); ++position) {
    if (choices.is_host(choices.stage_at(position)) != of_hosts) continue;
    const std::vector<int64_t>& arenas = graph.arena_end[static_cast<size_t>(position)];
    const int64_t bytes = std::accumulate(arenas.begin(), arenas.end(), int64_t{0});
    if (bytes > most.bytes) most = {position, bytes};
  }
  return most;
}

bool fits_memory(const TaskGraph& graph, const Choices& choices) {
  const auto fits = [&](bool of_hosts, int64_t limit) {
    return limit == 0 || memory_need(graph, choices, of_hosts).bytes <= limit;
  };
  return fits(false, choices.memory_bytes) && fits(true, choices.host_memory_bytes);
}

void refuse_memory(const TaskGraph& graph, const Program& program, const Choices& choices, const MemoryPlan& memory) {
  MemoryNeed need = memory_need(graph, choices, false);
  const bool of_hosts = choices.memory_bytes == 0 || need.bytes <= choices.memory_bytes;
  if (of_hosts) need = memory_need(graph, choices, true);
  const std::vector<int64_t>& arenas = graph.arena_end[static_cast<size_t>(need.position)];
  const std::string& device = choices.devices[choices.device_at(need.position).index()];
  std::vector<std::string> largest =
      peak_tensors(graph, program, memory, graph.class_of[static_cast<size_t>(need.position)]);
  if (largest.size() > 8) largest.resize(8);
  const std::string recomputed =
      choices.recompute.empty() ? "" : ", with " + some_of(choices.recompute, 4) + " recomputed";
  const std::string limit = of_hosts ? "offload has memory=" + bytes_text(choices.host_memory_bytes) + " per host"
                                     : "the mesh has memory=" + bytes_text(choices.memory_bytes) + " per device";
  throw PlanError(
      "plan '" + choices.name + "' needs " + bytes_text(need.bytes) + " on " + device + " at its peak (" +
      bytes_text(arenas[0]) + " variables, " + bytes_text(arenas[1]) + " workspace, " + bytes_text(arenas[2]) +
      " data)" + recomputed + ", but " + limit + "; the least that would do is memory=" + std::to_string(need.bytes) +
      "; the largest tensors at the peak: " + join(largest, "; ", [](const std::string& tensor) { return tensor; }) +
      "; a smaller batch, more pieces per shard, recompute, offload or more devices would help");
}

std::vector<std::string> peak_tensors(const TaskGraph& graph, const Program& program, const MemoryPlan& memory, int c) {
  const auto index = static_cast<size_t>(c);
  const int at = fullest(graph, memory, index);
  std::vector<std::pair<int64_t, size_t>> live;
  for (size_t r = 0; r < graph.registers.size(); ++r) {
    const ClassRegister& reg = graph.registers[r];
    const bool counted =
        reg.arena == ArenaKind::variables || (memory.buffer_of[r] == static_cast<int>(r) &&
                                              memory.lifetimes[r].first <= at && at <= memory.lifetimes[r].last);
    if (counted && reg.bytes[index] > 0) live.emplace_back(-reg.bytes[index] * reg.slots, r);
  }
  std::sort(live.begin(), live.end());
  std::vector<std::string> texts;
  for (const auto& [bytes, r] : live) {
    const ClassRegister& reg = graph.registers[r];
    texts.push_back(reg.name + " " + type_text(program.value(reg.value).type.dtype, reg.shapes[index]) + " " +
                    bytes_text(-bytes) + (reg.slots > 1 ? " in " + std::to_string(reg.slots) + " slots" : ""));
  }
  return texts;
}

}  // namespace troupe
