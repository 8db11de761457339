// The workers of a run as their driver sees them: who has joined, who still owes an answer, who has gone silent. A
// state machine: events and the time go in; it sends nothing and waits for nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "actors/engine/control.h"
#include "actors/engine/in_order.h"

namespace troupe {

struct CrewOptions {
  int workers = 1;         // how many the run has
  std::string token;       // what one has to show
  double heartbeat_s = 1;  // a worker that says nothing for so long is given up
};

// Not thread-safe. Times are seconds of one clock.
class Crew {
 public:
  struct Member {
    std::string host;
    int32_t process = 0;
    WorkerShare share;
    std::string memory;   // which it can map
    std::string address;  // of its link to processes that share no memory with it
    double heard = 0;     // last, when
    uint64_t firings = 0;
    bool gone = false;
    double joined = 0;  // when
    int64_t read = -1;  // see Beat
    double moved = 0;   // when its tasks were last heard to have fired
    int32_t rank = -1;  // its number, as it said; once all have joined, for all
    InOrder<Reply> said{};
  };

  explicit Crew(CrewOptions options) : options_(std::move(options)) {}

  // Which member that is, in the order in which they join, or why it is not let in. Once all have joined they are
  // numbered by their ranks, those without one in the places that are left: whose messages come from elsewhere is told
  // by the order of joining still.
  std::variant<int, std::string> on(const Join& join, double now);
  int joined_as(int worker) const { return joined_as_.empty() ? worker : joined_as_.at(static_cast<size_t>(worker)); }
  // Somebody was not let in: "node7: why". For the error when workers are missing.
  void refuse(const std::string& who);
  // The first few that differ.
  const std::vector<std::string>& refused() const { return refused_; }
  const CrewOptions& options() const { return options_; }
  int size() const { return options_.workers; }
  bool complete() const { return static_cast<int>(members_.size()) == options_.workers; }
  const std::vector<Member>& members() const { return members_; }
  std::vector<WorkerShare> shares() const;
  int32_t devices() const;
  // "worker 1 (node7, process 4711)"; "a worker (node7, process 4711)" while it depends on those who have not joined which
  // number is left for it.
  std::string name(int worker) const;

  // A request to all; the next one may be sent when `settled`.
  uint64_t ask();
  bool settled() const { return owing_.empty(); }
  // What the last request came to: the first that was not carried out. By value: nothing of it is kept.
  std::optional<Answer> failure() const { return failure_; }
  // Whether every member has answered it that it is the user's mistake.
  bool refused_by_all() const { return user_errors_ == members_.size(); }
  struct Stands {
    int worker = 0;
    Standings where;
  };
  const std::vector<Stands>& stands() const { return stands_; }
  struct Observed {
    int worker = 0;
    Observations seen;
  };
  const std::vector<Observed>& observed() const { return observed_; }
  struct Time {
    int worker = 0;
    double there = 0;  // by its clock
    double heard = 0;
  };
  const std::vector<Time>& times() const { return times_; }
  // Who has not answered: "worker 1 (node7, process 4711), worker 3 (...)".
  std::string owing() const;
  bool owes(int worker) const { return owing_.contains(worker); }

  // The steps before `until` have been begun in this life of a plan.
  void go(uint32_t epoch, int64_t until);
  bool reached() const { return behind_.empty(); }

  // What a member says, heard in the order of saying. One that is gone is not listened to: a process that wakes up
  // after it was given up, or an answer to an older request, changes nothing.
  void on(int joined_as, const Said& said, double now);
  // The connection to a member has been closed.
  void lost(int joined_as);
  // Looks for members that have gone silent, or whose messages are missing. To be called every tenth of a second or so; when it was not (before the
  // first time, or because the driver itself was stopped), silence before that does not count.
  void tick(double now);

  // The first failure since the last `forgive`; a member that is gone is one that stays.
  const std::optional<Fault>& fault() const { return fault_; }
  const std::optional<Fault>& gone() const { return gone_; }
  int first_gone() const { return first_gone_; }  // which member that is
  bool all_gone() const;
  // The member of this name; -1: none.
  int named(const std::string& name) const;
  // With the devices of the member that it names as the peer.
  Fault located(Fault fault) const;
  void forgive();
  uint64_t firings() const;
  int64_t read() const;  // the least of what members say; see Beat

 private:
  void hear(int worker, const Reply& reply, double now);
  std::optional<std::string> taken(const Join& join) const;
  void number();
  int number_of(int joined_as) const;
  void leave(int worker, const std::string& why, double waited);
  std::string devices_of(int worker) const;
  Fault named(int worker, Fault fault) const;

  CrewOptions options_;
  std::vector<Member> members_;
  std::vector<int> joined_as_;  // by number, once all have joined
  std::vector<std::string> refused_;
  uint64_t request_ = 0;
  std::set<int> owing_;
  std::optional<Answer> failure_;
  size_t user_errors_ = 0;  // among the answers to it
  std::vector<Stands> stands_;
  std::vector<Observed> observed_;
  std::vector<Time> times_;
  uint32_t epoch_ = 0;
  int64_t until_ = 0;
  std::set<int> behind_;
  std::optional<Fault> fault_;
  std::optional<Fault> gone_;
  int first_gone_ = -1;
  std::optional<double> ticked_;
};

}  // namespace troupe
