// Control edges for memory that registers share.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "planner/memory.h"
#include "planner/task_graph.h"

namespace troupe {

// A task on a device: an index into TaskGraph::tasks and a position.
struct TaskAt {
  int task = 0;
  int position = 0;
  auto operator<=>(const TaskAt&) const = default;
};

// The writer waits for the reader: in the same round or step (tokens 0), or one later (tokens 1).
struct ReuseEdge {
  TaskAt reader;
  TaskAt writer;
  int tokens = 0;
  bool operator==(const ReuseEdge&) const = default;
};

// On one device the stream's order keeps a later slot from overwriting an earlier one that is still read. A reader on
// another device is in no such order: the next writers of those bytes wait for it by a control edge. `remote_readers`:
// by register and position, the tasks of other devices that pull from it.
using RemoteReaders = std::vector<std::map<int, std::vector<TaskAt>>>;
//
// Within a turn of a pipeline the memory of what the host has copied is used again: by the turn's next writers, and by other
// turns, before which the turn's last task waits for the copy.
std::vector<ReuseEdge> reuse_edges(const TaskGraph& graph, const MemoryPlan& memory,
                                   const RemoteReaders& remote_readers);

// Copies from the memory of the host that may begin when their device has come to their place, and not before, since their
// memory is used until then: the task that computes before the place, and the copy.
std::vector<std::pair<int, int>> starts_of_copies(const TaskGraph& graph);

}  // namespace troupe
