// Who waits for whom when nothing moves: each stream for another one, which has to give what its head lacks, up to one
// that waits for nobody.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "actors/engine/plan_life.h"
#include "actors/engine/standing.h"

namespace troupe {

// What a chain of waits ends at.
enum class WaitEnd : uint8_t {
  nothing,  // nobody waits
  cycle,    // of tasks that wait for each other: no plan that was certified has one
  process,  // of which it is not known where it stands
  link,     // a message was sent and did not arrive
  kernel,   // that runs
  turn,     // a task that lacks nothing, but its executor does not run it
  source,   // without data
  limit,    // all steps are done, and more is waited for
};

// A pure function of its arguments. Of all chains' ends it finds the one that most streams wait for.
class WaitGraph {
 public:
  struct Wait {
    TaskId task;
    int64_t step = 0;
    Lack lack{};      // of a task that waits
    TaskId behind{};  // the head of the stream, or whose kernel runs, of whoever has to give it
  };
  struct Verdict {
    WaitEnd end = WaitEnd::nothing;
    // The task at the chain's end, for a link the one that the message was for; then one after another those that wait,
    // each for the one before: rather what waits for what the end makes than for room there, and of that the longest
    // chain. Of a cycle: its tasks, each waits for the next.
    std::vector<Wait> waits;
    int64_t waiting = 0;  // streams, behind one another or beside
  };

  // `standings` are of all streams that are known of. With a `suspect`, only chains that end at this process count.
  WaitGraph(const PlanLife& life, const std::vector<Standing>& standings, std::function<int(DeviceId)> process_of,
            std::optional<int> suspect = {});

  Verdict verdict() const;

 private:
  struct Node {  // a stream, or behind all streams a process
    const Standing* standing = nullptr;
    WaitEnd end = WaitEnd::nothing;  // of the chain, when this is where it ends
    int next = -1;                   // otherwise
    const Lack* lack = nullptr;
    int last = -1;      // where its chain ends
    int depth = 0;      // how many wait up to there, this one too
    bool room = false;  // the first of them only lacks room
    bool met = false;
    bool counts() const {
      return standing != nullptr && !standing->runs_ahead && standing->state != Standing::State::limit;
    }
  };
  const Plan& plan() const { return life_.plan(); }
  int node_of(TaskId task) const;
  int64_t firings(TaskId task, const Standing& standing) const;
  bool sent(const Lack& lack) const;
  void point(Node& node) const;
  void follow(int from);
  Wait wait_of(const Node& node) const;

  const PlanLife& life_;
  const std::function<int(DeviceId)> process_of_;
  const std::optional<int> suspect_;
  std::vector<Node> nodes_;
};

}  // namespace troupe
