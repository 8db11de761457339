#include "planner/reuse.h"

#include <algorithm>
#include <map>

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
    list.push_back({static_cast<int>(r), reg.producer, memory.lifetimes[r], reg.offsets[c], reg.offsets[c] + reg.bytes[c]});
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
    std::vector<std::pair<int64_t, int64_t>> left;
    bool any = false;
    for (const auto& [b, e] : ranges_) {
      if (end <= b || e <= begin) {
        left.emplace_back(b, e);
        continue;
      }
      any = true;
      if (b < begin) left.emplace_back(b, begin);
      if (end < e) left.emplace_back(end, e);
    }
    ranges_ = std::move(left);
    return any;
  }

 private:
  std::vector<std::pair<int64_t, int64_t>> ranges_;
};

class Guards {
 public:
  Guards(const TaskGraph& graph, size_t position, std::map<std::pair<TaskAt, TaskAt>, int>& edges)
      : graph_(graph), position_(static_cast<int>(position)), edges_(edges) {}

  // Walks the occupants that come after `held` and guards each byte's next writer. `later`: this time round; `next`:
  // one round or step later.
  void guard(const Occupant& held, const std::vector<const Occupant*>& later, const std::vector<const Occupant*>& next,
             const std::vector<TaskAt>& readers) {
    Uncovered uncovered(held.begin, held.end);
    for (const Occupant* occupant : later) add(uncovered, *occupant, 0, readers);
    for (const Occupant* occupant : next) add(uncovered, *occupant, 1, readers);
  }

 private:
  void add(Uncovered& uncovered, const Occupant& occupant, int tokens, const std::vector<TaskAt>& readers) {
    if (!uncovered.take(occupant.begin, occupant.end)) return;
    for (const TaskAt& reader : readers) {
      const auto [it, added] = edges_.emplace(std::pair(reader, TaskAt{occupant.writer, position_}), tokens);
      if (!added) it->second = std::min(it->second, tokens);
    }
  }

  const TaskGraph& graph_;
  int position_;
  std::map<std::pair<TaskAt, TaskAt>, int>& edges_;
};

}  // namespace

std::vector<ReuseEdge> reuse_edges(const TaskGraph& graph, const MemoryPlan& memory,
                                   const std::vector<std::vector<std::vector<TaskAt>>>& remote_readers) {
  std::map<std::pair<TaskAt, TaskAt>, int> edges;
  const auto segment = [&](const Occupant& occupant) { return graph.tasks[static_cast<size_t>(occupant.writer)].segment; };
  for (size_t position = 0; position < graph.class_of.size(); ++position) {
    std::vector<Occupant> occupants = occupants_of(graph, memory, static_cast<size_t>(graph.class_of[position]));
    std::sort(occupants.begin(), occupants.end(), [](const Occupant& a, const Occupant& b) {
      return std::tuple(a.life.first, a.writer, a.reg) < std::tuple(b.life.first, b.writer, b.reg);
    });
    Guards guards(graph, position, edges);
    for (const Occupant& held : occupants) {
      if (held.reg < 0) continue;
      const std::vector<TaskAt>& readers = remote_readers[static_cast<size_t>(held.reg)][position];
      if (readers.empty()) continue;
      // Each list in the order of time; the held register itself ends a walk, since it waits for its own readers.
      std::vector<const Occupant*> later;
      std::vector<const Occupant*> next;
      std::vector<const Occupant*> after_pieces;
      std::vector<const Occupant*> before_pieces;
      const bool in_pieces = segment(held) == Segment::piece;
      for (const Occupant& other : occupants) {
        if (&other == &held) continue;
        // Taken over in place while both live: the taker is the one that comes later.
        const bool comes_later = other.life.first > held.life.first && other.writer > held.writer;
        if (in_pieces && segment(other) != Segment::piece) {
          (segment(other) == Segment::after ? after_pieces : before_pieces).push_back(&other);
        } else {
          (comes_later ? later : next).push_back(&other);
        }
      }
      const auto until_held = [&](std::vector<const Occupant*>& list) {
        list.erase(std::remove_if(list.begin(), list.end(),
                                  [&](const Occupant* other) {
                                    return other->life.first > held.life.first;
                                  }),
                   list.end());
      };
      until_held(next);
      guards.guard(held, later, next, readers);
      if (in_pieces) guards.guard(held, after_pieces, before_pieces, readers);
    }
  }
  std::vector<ReuseEdge> result;
  for (const auto& [ends, tokens] : edges) result.push_back({ends.first, ends.second, tokens});
  return result;
}

}  // namespace troupe
