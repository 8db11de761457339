// A worker: one process's part of a run, steered by a driver elsewhere. A state machine around an engine: commands go
// in, replies come out, and it waits for nothing: a command that needs bytes of another host is answered when they have
// come, and those behind it wait. Whoever owns it provides the threads of its executors and carries the messages.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "actors/engine/control.h"
#include "actors/engine/engine.h"
#include "actors/engine/feed.h"
#include "actors/engine/in_order.h"

namespace troupe {

// All members by one thread at a time, but for `beat`; the executors' threads run concurrently.
class Worker {
 public:
  using MakeNetwork = std::function<std::unique_ptr<Network>()>;

  // The table and the clock outlive the worker. `make_network` is called when processes of the run share no memory with
  // this one; without it such a run is refused.
  Worker(const KernelTable& kernels, const Clock& clock, MakeNetwork make_network = nullptr)
      : kernels_(kernels), clock_(clock), make_network_(std::move(make_network)) {}

  ~Worker();

  // What there is to say to this command: its answer, unless that comes later. A mistake or a failure is an answer too.
  // One that comes early waits for those before it.
  std::vector<Said> on(const Order& order);
  // To be called when something has changed (see `set_changed`): late answers, steps that are done, a fault.
  std::vector<Said> on_change();
  // Since the welcome.
  Said beat();

  // Commands that have come and are not carried out yet.
  std::vector<const Command*> waiting() const;
  // Null before the welcome. Its executors are run from then on.
  Engine* engine() { return engine_.get(); }
  // Called from other threads: `on_change` has something to say. Must not block.
  void set_changed(std::function<void()> changed) { changed_ = std::move(changed); }
  bool over() const { return over_; }                      // it was told to leave, or was refused:
  const std::string& refused() const { return refused_; }  // why
  double beat_s() const { return beat_s_; }                // how often it is to be heard; since the welcome

 private:
  struct Waiting {
    uint64_t request = 0;
    Command command;
    enum class Stage : uint8_t { fresh, fetches, carried_out } stage = Stage::fresh;
    ExchangeJob job;
    std::shared_ptr<Arena> fetched;  // what the driver lends
  };
  void carry_out(const Welcome& welcome, std::vector<Reply>& replies, uint64_t request);
  void carry_out(const Waiting& waiting, const LoadPlan& load);
  void carry_out(const SetSources& sources);
  void carry_out(const Waiting& waiting, const HandOver& batch);
  void carry_out(const Waiting& waiting, std::vector<Reply>& replies);
  void link(const Welcome& welcome, std::vector<Reply>& replies, uint64_t request);
  std::vector<Said> numbered(std::vector<Reply> replies);
  void take(const Order& order);
  std::vector<Reply> advance();
  std::vector<Reply> on_progress();
  bool step(Waiting& waiting, std::vector<Reply>& replies);
  void begin(Waiting& waiting);
  void fetch(Waiting& waiting, const ArenaFile& file);
  std::shared_ptr<Arena> borrow(const Waiting& waiting, const ArenaFile& file) const;
  Engine& started();

  const KernelTable& kernels_;
  const Clock& clock_;
  const MakeNetwork make_network_;
  std::function<void()> changed_;
  InOrder<Order> orders_;
  std::list<Waiting> waiting_;  // commands in order
  std::vector<WorkerShare> workers_;
  Arena doorbells_;
  std::unique_ptr<Exchange> exchange_;  // with processes that share no memory with this one
  bool far_from_driver_ = false;
  std::unique_ptr<Engine> engine_;
  std::map<int64_t, std::shared_ptr<Feed>> feeds_;
  PlanHandle running_;  // what goes, until it is reached
  double beat_s_ = 0;
  bool over_ = false;
  std::string refused_;
  std::atomic<double> missing_since_{-1};  // see Beat; -1: nothing is
  std::atomic<uint64_t> said_{0};
};

}  // namespace troupe
