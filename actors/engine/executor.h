// An executor: one thread's worth of streams. The head of a stream fires when its credits allow; what it tells tasks
// of the same executor takes effect at once, what it tells others is in their inbox before the next kernel runs.
//
//   poll            take what other executors sent
//   next            the stream whose head can fire
//   begin, compute, finish
//
// `run` does this until there is nothing to do; a simulation takes the steps one by one.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "actors/engine/doorbell.h"
#include "actors/engine/lane.h"
#include "actors/engine/loaded_plan.h"
#include "actors/engine/shared.h"
#include "runtime/base/clock.h"

namespace troupe {

class Exchange;

class Executor {
 public:
  enum class Outcome {
    again,  // the time is up and there may be more to do
    sleep,  // nothing to do: the bell rings when there is
  };

  // All of these outlive the executor. There is a doorbell of each executor of the run, this one's among them; those of
  // executors that share no memory with this process are the bell of its exchange.
  Executor(int index, Shared& shared, const Clock& clock, double spin_s, std::vector<Doorbell*> doorbells,
           Exchange* exchange = nullptr);

  // Runs firings for about so long. By one thread at a time. Failures and exceptions become faults.
  Outcome run(double at_most_s);

  // From any thread.
  void ring();
  uint64_t firings() const { return progress_.load(std::memory_order_relaxed); }
  // The sources have read the data of the steps before this one; -1 before they have ended one.
  int64_t read() const { return read_.load(std::memory_order_relaxed); }
  // The plan and task whose kernel runs; -1 when none does.
  std::pair<int, TaskId> running() const;
  std::mutex& mutex() { return mutex_; }  // held while `run` runs

  // The rest: by the owner of the mutex, or where there is one thread only.
  // By executor; empty where no message ever goes.
  void set_lanes(const std::vector<Lane>& incoming, const std::vector<Lane>& outgoing);
  void set_shares(std::vector<Share*> shares);  // by handle; null where there is none
  bool poll();
  StreamLoop* next();
  void begin(StreamLoop& stream);
  bool compute(StreamLoop& stream);  // false: the kernel has failed
  void finish(StreamLoop& stream);
  void fail_as_thrown();  // in a handler: what was thrown is a fault of the task that runs
  void rest() { running_.store(-1, std::memory_order_relaxed); }  // no kernel runs
  void deliver(const Message& message);
  // Behind all that is in its devices' queues, one for each. FaultError.
  std::vector<std::pair<const DeviceQueue*, uint64_t>> marks() const;

 private:
  Outcome run_until(double deadline_s);
  bool spin();
  bool may_sleep();
  void look_again();
  void enqueue(StreamLoop& stream);
  void dequeue_first();
  void wake(StreamLoop& stream, WaitsFor what, int32_t reg);
  void post(const StreamLoop& from, MessageKind kind, const Route& route, int64_t version, int32_t slot);
  // Of streams with a device's queue.
  void tell_from_queue(StreamLoop& stream);
  void wait_for_queue(StreamLoop& stream);
  void post_late(const StreamLoop& from, const StreamLoop::Held& held);
  void hold(StreamLoop& from, const StreamLoop::Held& held);
  bool let_go();
  template <class Use>
  bool use_queue(const StreamLoop& stream, TaskId task, Use&& use);
  void find_held();
  void ask_to_be_rung();
  void send(const StreamLoop& from, MessageKind kind, const Route& route, int64_t version, int32_t slot);
  void flush();
  void ring(size_t executor);
  void ring_exchange();
  Doorbell& doorbell() { return *doorbells_[static_cast<size_t>(index_)]; }
  void end_step(StreamLoop& stream);
  void reach_limit(Share& share);
  void refuse(Refusal refusal, const Plan& plan, const TaskActor& task, MessageKind kind, int32_t reg, int64_t version);
  void fail(const std::string& what);
  void fail(Fault fault);

  const int index_;
  Shared& shared_;
  const Clock& clock_;
  const double spin_s_;
  std::vector<Doorbell*> doorbells_;  // by executor, with this one's
  std::vector<Share*> shares_;        // by handle
  std::vector<StreamLoop*> queue_;    // a ring; each stream is in it at most once
  size_t first_ = 0;
  size_t queued_ = 0;
  int32_t turns_ = 0;  // firings of the first stream since it came to the front
  std::vector<LaneReceiver> inbox_;
  std::vector<LaneSender> outgoing_;  // by executor
  std::vector<StreamLoop*> holding_;  // streams that hold messages back until their queue has passed a mark
  std::vector<size_t> staged_;        // executors with mail that is not yet published
  Exchange* const exchange_;
  int far_mail_ = -1;    // an executor with mail for which the exchange has not been rung
  std::string failure_;  // of the kernel that runs
  const StreamLoop* current_ = nullptr;
  uint64_t fired_ = 0;

  // Each written by this executor at every firing, or by others: on lines of their own.
  alignas(128) std::atomic<uint64_t> progress_{0};
  std::atomic<int64_t> running_{-1};
  std::atomic<int64_t> read_{-1};
  alignas(128) std::atomic<bool> kicked_{false};  // something other than a message has changed
  std::mutex mutex_;
};

}  // namespace troupe
