#include "planner/reuse.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "runtime/base/align.h"

namespace troupe {
namespace {

// Somebody who writes a range of a device's workspace: a register's producer, or a task its scratch.
struct Occupant {
  int reg = -1;  // -1: scratch
  int writer = 0;
  Lifetime life;
  int64_t begin = 0;
  int64_t end = 0;
};

std::vector<Occupant> occupants_of(const TaskGraph& graph, const MemoryPlan& memory, size_t c) {
  std::vector<Occupant> list;
  for (size_t r = 0; r < graph.registers.size(); ++r) {
    const ClassRegister& reg = graph.registers[r];
    if (memory.buffer_of[r] < 0 || reg.bytes[c] == 0) continue;
    // A slice that lies in its whole counts as all of that: which part it is differs among devices of a class.
    const ClassRegister& lies = reg.in_whole ? graph.registers[static_cast<size_t>(reg.whole)] : reg;
    list.push_back({static_cast<int>(r), reg.producer, memory.lifetimes[r], lies.offsets[c],
                    lies.offsets[c] + lies.slots * aligned(lies.bytes[c])});
  }
  for (size_t t = 0; t < graph.tasks.size(); ++t) {
    const ClassTask& task = graph.tasks[t];
    const int at = static_cast<int>(t);
    if (task.scratch_bytes[c] == 0) continue;
    list.push_back({-1, at, {at, at, 0}, task.scratch_offset[c], task.scratch_offset[c] + task.scratch_bytes[c]});
  }
  return list;
}

// Byte ranges that still need a guard.
class Uncovered {
 public:
  Uncovered(int64_t begin, int64_t end) : ranges_({{begin, end}}) {}
  bool empty() const { return ranges_.empty(); }
  // Takes [begin, end) out; true when any of it was still there.
  bool take(int64_t begin, int64_t end) {
    const auto apart = [&](const std::pair<int64_t, int64_t>& range) {
      return end <= range.first || range.second <= begin;
    };
    if (std::all_of(ranges_.begin(), ranges_.end(), apart)) return false;
    std::vector<std::pair<int64_t, int64_t>> left;
    for (const auto& [b, e] : ranges_) {
      if (apart({b, e})) {
        left.emplace_back(b, e);
        continue;
      }
      if (b < begin) left.emplace_back(b, begin);
      if (end < e) left.emplace_back(end, e);
    }
    ranges_ = std::move(left);
    return true;
  }

 private:
  std::vector<std::pair<int64_t, int64_t>> ranges_;
};

// The occupants of one device that are written in the same part of a step, in the order of time.
using Occupants = std::vector<const Occupant*>;

class Guards {
 public:
  Guards(const TaskGraph& graph, int position, std::map<std::pair<TaskAt, TaskAt>, int>& edges)
      : graph_(graph), position_(position), edges_(edges) {}

  // Guards each byte's next writer among these. It comes later this time round, or else one round or step later, where
  // the walk ends with the held register's own time: it waits for its own readers.
  void guard(const Occupant& held, const Occupants& among, const std::vector<TaskAt>& readers) {
    Uncovered uncovered(held.begin, held.end);
    const auto later = std::upper_bound(among.begin(), among.end(), held.life.first,
                                        [](int first, const Occupant* other) { return first < other->life.first; });
    for (auto it = later; it != among.end() && !uncovered.empty(); ++it) {
      // Taken over in place while both live: the taker is the one that comes later.
      if ((*it)->writer > held.writer && !leaves(held, **it)) add(uncovered, **it, 0, readers);
    }
    for (auto it = among.begin(); it != later && !uncovered.empty(); ++it) {
      if (*it != &held && !leaves(held, **it)) add(uncovered, **it, 1, readers);
    }
  }

  // Among those of the same turn alone. Bytes that none of them writes again have been read when the turn ends.
  void guard_turn(const Occupant& held, const Occupants& among, const std::vector<TaskAt>& readers) {
    const auto turn = [&](int task) { return graph_.tasks[static_cast<size_t>(task)].turn; };
    Uncovered uncovered(held.begin, held.end);
    for (const Occupant* other : among) {
      if (other->writer <= held.writer || turn(other->writer) != turn(held.writer) || leaves(held, *other)) continue;
      add(uncovered, *other, 0, readers);
    }
    if (uncovered.empty()) return;
    int last = held.writer;
    for (int next = last; next >= 0; next = computes_after(graph_, next)) last = next;
    for (const TaskAt& reader : readers) add_edge(reader, {last, position_}, 0);
  }

  // Of writers of another part of the step, whose order this one does not share.
  void guard_all(Uncovered& uncovered, const Occupants& others, int tokens, const std::vector<TaskAt>& readers) {
    for (auto it = others.begin(); it != others.end() && !uncovered.empty(); ++it)
      add(uncovered, **it, tokens, readers);
  }

 private:
  void add(Uncovered& uncovered, const Occupant& occupant, int tokens, const std::vector<TaskAt>& readers) {
    if (!uncovered.take(occupant.begin, occupant.end)) return;
    for (const TaskAt& reader : readers) add_edge(reader, {occupant.writer, position_}, tokens);
  }

  void add_edge(const TaskAt& reader, const TaskAt& writer, int tokens) {
    const auto [it, added] = edges_.emplace(std::pair(reader, writer), tokens);
    if (!added) it->second = std::min(it->second, tokens);
  }

  // Whoever completes the whole around a slice leaves the slice as it is.
  bool leaves(const Occupant& held, const Occupant& other) const {
    const ClassRegister& reg = graph_.registers[static_cast<size_t>(held.reg)];
    return reg.in_whole && reg.whole == other.reg;
  }

  const TaskGraph& graph_;
  int position_;
  std::map<std::pair<TaskAt, TaskAt>, int>& edges_;
};

}  // namespace

std::vector<ReuseEdge> reuse_edges(const TaskGraph& graph, const MemoryPlan& memory,
                                   const RemoteReaders& remote_readers) {
  std::map<std::pair<TaskAt, TaskAt>, int> edges;
  for (size_t position = 0; position < graph.class_of.size(); ++position) {
    const auto is_read = [&](const auto& by_position) { return by_position.contains(static_cast<int>(position)); };
    if (std::none_of(remote_readers.begin(), remote_readers.end(), is_read)) continue;
    std::vector<Occupant> occupants = occupants_of(graph, memory, static_cast<size_t>(graph.class_of[position]));
    std::sort(occupants.begin(), occupants.end(), [](const Occupant& a, const Occupant& b) {
      return std::tuple(a.life.first, a.writer, a.reg) < std::tuple(b.life.first, b.writer, b.reg);
    });
    Occupants all;
    Occupants of_segment[kSegments];
    const auto segment = [&](const Occupant& occupant) {
      return static_cast<size_t>(graph.tasks[static_cast<size_t>(occupant.writer)].segment);
    };
    for (const Occupant& occupant : occupants) {
      all.push_back(&occupant);
      of_segment[segment(occupant)].push_back(&occupant);
    }
    Guards guards(graph, static_cast<int>(position), edges);
    for (const Occupant& held : occupants) {
      if (held.reg < 0) continue;
      const auto& by_position = remote_readers[static_cast<size_t>(held.reg)];
      const auto read = by_position.find(static_cast<int>(position));
      if (read == by_position.end()) continue;
      const std::vector<TaskAt>& readers = read->second;
      const Segment here = graph.tasks[static_cast<size_t>(held.writer)].segment;
      if (here != Segment::piece) {
        guards.guard(held, all, readers);
        continue;
      }
      const ClassRegister& reg = graph.registers[static_cast<size_t>(held.reg)];
      if (graph.turns.size() > 1 && !reg.accumulates && !spans_turns(graph, reg)) {
        guards.guard_turn(held, of_segment[static_cast<size_t>(Segment::piece)], readers);
        continue;
      }
      guards.guard(held, of_segment[static_cast<size_t>(Segment::piece)], readers);
      Uncovered uncovered(held.begin, held.end);
      guards.guard_all(uncovered, of_segment[static_cast<size_t>(Segment::after)], 0, readers);
      guards.guard_all(uncovered, of_segment[static_cast<size_t>(Segment::before)], 1, readers);
    }
  }
  std::vector<ReuseEdge> result;
  for (const auto& [ends, tokens] : edges) result.push_back({ends.first, ends.second, tokens});
  return result;
}

std::vector<std::pair<int, int>> starts_of_copies(const TaskGraph& graph) {
  std::vector<std::pair<int, int>> starts;
  for (size_t t = 0; t < graph.tasks.size(); ++t) {
    const ClassTask& task = graph.tasks[t];
    const bool to_device = task.stream == StreamKind::copy && task.stage < static_cast<int>(graph.turns.size());
    if (!to_device || spans_turns(graph, graph.registers[static_cast<size_t>(task.outputs.front())])) continue;
    starts.emplace_back(computes_before(graph, static_cast<int>(t)), static_cast<int>(t));
  }
  return starts;
}

}  // namespace troupe
