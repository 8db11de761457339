#include "actors/engine/executor.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

#include "actors/engine/exchange.h"

namespace troupe {
namespace {

// Firings in a row before other streams of the executor get their turn. A source hands over at once: what it reads
// ahead can wait, what it has read may be waited for.
constexpr int32_t kTurns = 32;
constexpr int32_t kTurnsAhead = 1;
// Firings, or looks while spinning, between two looks at the clock, which costs as much as a firing.
constexpr int kFiringsPerLook = 64;
constexpr int kSpinsPerLook = 64;

WaitsFor awaited(MessageKind kind) { return kind == MessageKind::ready ? WaitsFor::input : WaitsFor::slot; }

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Executor::Executor(int index, Shared& shared, const Clock& clock, double spin_s, std::vector<Doorbell*> doorbells,
                   Exchange* exchange)
    : index_(index),
      shared_(shared),
      clock_(clock),
      spin_s_(spin_s),
      doorbells_(std::move(doorbells)),
      exchange_(exchange) {}

void Executor::set_lanes(const std::vector<Lane>& incoming, const std::vector<Lane>& outgoing) {
  inbox_.clear();
  for (const Lane& lane : incoming) {
    if (lane) inbox_.emplace_back(lane);
  }
  outgoing_.clear();
  for (const Lane& lane : outgoing) outgoing_.emplace_back(lane);
  staged_.reserve(outgoing_.size());
}

void Executor::set_shares(std::vector<Share*> shares) {
  std::vector<StreamLoop*> still_queued;
  shares_ = std::move(shares);
  size_t streams = 0;
  for (const Share* share : shares_) {
    if (share == nullptr) continue;
    streams += share->streams.size();
    for (const auto& stream : share->streams) {
      const bool idle = share->plan->fresh || stream->wait != StreamLoop::Wait::none;
      if (!idle) still_queued.push_back(stream.get());
    }
  }
  find_held();
  queue_.assign(streams, nullptr);
  first_ = queued_ = 0;
  turns_ = 0;
  for (StreamLoop* stream : still_queued) enqueue(*stream);
}

std::pair<int, TaskId> Executor::running() const {
  const int64_t packed = running_.load(std::memory_order_relaxed);
  return packed < 0 ? std::pair(-1, TaskId()) : std::pair(static_cast<int>(packed >> 32), TaskId(packed & 0xffffffff));
}

void Executor::ring() {
  kicked_.store(true, std::memory_order_seq_cst);
  if (shared_.bell && doorbell().rouse()) shared_.bell(index_);
}

Executor::Outcome Executor::run(double at_most_s) {
  const std::lock_guard lock(mutex_);
  doorbell().is_awake();
  Outcome outcome = Outcome::again;
  try {
    outcome = run_until(clock_.now() + at_most_s);
    ring_exchange();
  } catch (...) {
    fail_as_thrown();
  }
  rest();
  return outcome;
}

void Executor::fail_as_thrown() {
  try {
    throw;
  } catch (const FaultError& error) {
    fail(error.fault());
  } catch (const std::exception& error) {
    fail(error.what());
  } catch (...) {
    fail("an exception of unknown type");
  }
}

Executor::Outcome Executor::run_until(double deadline_s) {
  for (int firings = 1;; ++firings) {
    if (shared_.held()) {  // whoever lifts the hold has the mutex, and rings afterwards
      doorbell().sleeps();
      return Outcome::sleep;
    }
    poll();
    if (StreamLoop* stream = next()) {
      ring_exchange();  // what could be sent without it while waiting is not
      begin(*stream);
      if (!compute(*stream)) [[unlikely]]
        continue;
      finish(*stream);
      if (firings % kFiringsPerLook == 0 && clock_.now() >= deadline_s) return Outcome::again;
      continue;
    }
    rest();
    if (!spin() && may_sleep()) return Outcome::sleep;
  }
}

// True when something came.
bool Executor::spin() {
  const double until = clock_.now() + spin_s_;
  do {
    for (int i = 0; i < kSpinsPerLook; ++i) {
      if (poll() || shared_.held()) return true;
      if (exchange_ != nullptr && exchange_->assist()) far_mail_ = -1;
      relax();
    }
    std::this_thread::yield();  // where more threads than cores want to run, waiting without it is far dearer
  } while (clock_.now() < until);
  return false;
}

bool Executor::may_sleep() {
  doorbell().sleeps();
  bool mail = kicked_.load(std::memory_order_seq_cst);
  for (const LaneReceiver& lane : inbox_) mail |= !lane.empty();
  if (mail) doorbell().is_awake();
  if (!mail && exchange_ != nullptr) exchange_->hand_back();
  if (!mail) ask_to_be_rung();
  return !mail;
}

bool Executor::poll() {
  bool came = false;
  Message message;
  for (LaneReceiver& lane : inbox_) {
    while (lane.take(message)) {
      deliver(message);
      came = true;
    }
  }
  if (!holding_.empty() && let_go()) [[unlikely]]
    came = true;
  if (kicked_.load(std::memory_order_relaxed) && kicked_.exchange(false)) [[unlikely]] {
    look_again();
    came = true;
  }
  return came;
}

void Executor::look_again() {
  for (Share* share : shares_) {
    if (share == nullptr || share->plan->fresh) continue;
    const int64_t limit = share->plan->limit.load(std::memory_order_acquire);
    for (const auto& stream : share->streams) {
      if (stream->wait == StreamLoop::Wait::source) wake(*stream, WaitsFor::source, -1);
      if (stream->wait == StreamLoop::Wait::limit && stream->step < limit) {
        --share->at_limit;
        wake(*stream, WaitsFor::step, -1);
      }
    }
  }
}

// What the stream waited for has come.
void Executor::wake(StreamLoop& stream, WaitsFor what, int32_t reg) {
  if (stream.share->observer) [[unlikely]]
    stream.share->observer->goes_on(stream.id, what, RegisterId(reg));
  enqueue(stream);
}

void Executor::enqueue(StreamLoop& stream) {
  CHECK(queued_ < queue_.size(), "a stream is queued twice", stream.id);
  stream.wait = StreamLoop::Wait::none;
  size_t at = first_ + queued_++;
  if (at >= queue_.size()) at -= queue_.size();
  queue_[at] = &stream;
}

void Executor::dequeue_first() {
  if (++first_ == queue_.size()) first_ = 0;
  --queued_;
  turns_ = 0;
}

StreamLoop* Executor::next() {
  while (queued_ > 0) {
    StreamLoop& stream = *queue_[first_];
    if (queued_ > 1 && turns_ >= (stream.runs_ahead ? kTurnsAhead : kTurns)) {
      dequeue_first();
      enqueue(stream);
      continue;
    }
    if (stream.wait == StreamLoop::Wait::none) [[likely]] {
      const TaskActor& head = stream.head();
      if (!head.can_fire()) {
        stream.wait = StreamLoop::Wait::head;
      } else if (!head.source_is_ready(stream.step)) [[unlikely]] {
        stream.wait = StreamLoop::Wait::source;
      } else {
        ++turns_;
        return &stream;
      }
      if (stream.share->observer) [[unlikely]]
        stream.share->observer->waits(stream.id);
    }
    dequeue_first();
  }
  return nullptr;
}

void Executor::begin(StreamLoop& stream) {
  TaskActor& task = stream.head();
  const LoadedPlan& plan = *stream.share->plan;
  current_ = &stream;
  running_.store(static_cast<int64_t>(plan.handle().value) << 32 | task.id().value, std::memory_order_relaxed);
  task.begin(stream.step, plan.plan().seed, &failure_);
  if (stream.share->observer) [[unlikely]]
    stream.share->observer->begin(task);
}

bool Executor::compute(StreamLoop& stream) {
  TaskActor& task = stream.head();
  if (DeviceQueue* queue = stream.device_stream.queue()) [[unlikely]] {
    task.launch(*queue);
    stream.put = task.id();
  } else if (task.empty()) {
    return true;
  } else {
    task.compute(stream.device_stream);
  }
  if (failure_.empty()) [[likely]]
    return true;
  fail(std::exchange(failure_, {}));
  return false;
}

void Executor::finish(StreamLoop& stream) {
  TaskActor& task = stream.head();
  if (stream.share->observer) [[unlikely]] {
    if (stream.device_stream.queue() != nullptr && stream.share->observer->reads_outputs()) wait_for_queue(stream);
    stream.share->observer->end(task, stream.position++);
  }
  if (stream.device_stream.queue() != nullptr) [[unlikely]] {
    tell_from_queue(stream);
  } else {
    task.finish([&](MessageKind kind, const Route& route, int64_t version, int32_t slot) {
      post(stream, kind, route, version, slot);
    });
  }
  if (!staged_.empty()) flush();
  progress_.store(++fired_, std::memory_order_relaxed);
  if (stream.advance()) [[unlikely]]
    end_step(stream);
}

inline void Executor::post(const StreamLoop& from, MessageKind kind, const Route& route, int64_t version,
                           int32_t slot) {
  if (from.share->observer) [[unlikely]]
    from.share->observer->posted(route.local == nullptr);
  if (route.local == nullptr) {
    send(from, kind, route, version, slot);
    return;
  }
  TaskActor& to = *route.local;
  const Refusal refusal =
      kind == MessageKind::ready ? to.on_ready(route.port, version) : to.on_freed(route.port, version);
  if (refusal != Refusal::none) [[unlikely]] {
    refuse(refusal, from.share->plan->plan(), to, kind, route.reg, version);
    return;
  }
  if (kind == MessageKind::freed && from.share->observer) [[unlikely]] {
    from.share->observer->freed(to, route.port, version);
  }
  if (to.can_fire() && to.loop->wait == StreamLoop::Wait::head && &to.loop->head() == &to) {
    wake(*to.loop, awaited(kind), route.reg);
  }
}

void Executor::post_late(const StreamLoop& from, const StreamLoop::Held& held) {
  post(from, held.kind, *held.route, held.version, held.slot);
}

void Executor::send(const StreamLoop& from, MessageKind kind, const Route& route, int64_t version, int32_t slot) {
  const LoadedPlan& plan = *from.share->plan;
  const auto to = static_cast<size_t>(route.executor);
  bool first = true;
  for (size_t staged : staged_) first &= staged != to;
  if (first) staged_.push_back(to);
  outgoing_[to].stage(
      {version, plan.epoch, route.task, route.port, route.reg, slot, static_cast<uint16_t>(plan.handle().value), kind});
}

void Executor::flush() {
  for (size_t to : staged_) {
    outgoing_[to].publish();
    if (exchange_ != nullptr && exchange_->is_far(static_cast<int>(to))) {
      far_mail_ = static_cast<int>(to);
    } else {
      ring(to);
    }
  }
  staged_.clear();
}

void Executor::ring(size_t executor) {
  if (shared_.bell && doorbells_[executor]->rouse()) shared_.bell(static_cast<int>(executor));
}

void Executor::ring_exchange() {
  if (far_mail_ >= 0) ring(static_cast<size_t>(std::exchange(far_mail_, -1)));
}

void Executor::deliver(const Message& message) {
  Share* share = message.plan < shares_.size() ? shares_[message.plan] : nullptr;
  // Of an older life, or one that has been stopped.
  if (share == nullptr || share->plan->fresh || message.epoch < share->plan->epoch) return;
  CHECK(message.epoch == share->plan->epoch, message.epoch, share->plan->epoch);
  TaskActor* task = share->tasks.at(static_cast<size_t>(message.task));
  CHECK(task != nullptr, message.task);
  const Refusal refusal = task->on(message);
  if (refusal != Refusal::none) {
    refuse(refusal, share->plan->plan(), *task, message.kind, message.reg, message.version);
    return;
  }
  if (message.kind == MessageKind::freed && share->observer) {
    share->observer->freed(*task, message.port, message.version);
  }
  StreamLoop& stream = *task->loop;
  if (task->can_fire() && stream.wait == StreamLoop::Wait::head && &stream.head() == task) {
    wake(stream, awaited(message.kind), message.reg);
  }
}

void Executor::end_step(StreamLoop& stream) {
  stream.position = 0;
  Share& share = *stream.share;
  if (stream.runs_ahead) {
    int64_t least = stream.step;
    for (const auto& other : share.streams) {
      if (other->runs_ahead) least = std::min(least, other->step);
    }
    read_.store(least, std::memory_order_relaxed);
    return;
  }
  const int64_t limit = share.plan->limit.load(std::memory_order_acquire);
  if (stream.step < limit) return;
  stream.wait = StreamLoop::Wait::limit;
  if (share.observer) [[unlikely]]
    share.observer->waits(stream.id);
  dequeue_first();  // it is the first; the driver's next word may queue it again before anyone else looks
  if (DeviceQueue* queue = stream.device_stream.queue()) {
    const TaskId last = stream.segments.back().tasks.back()->id();
    return hold(stream, {StreamLoop::Held::What::limit_reached, queue->mark(), last});
  }
  reach_limit(share);
}

void Executor::reach_limit(Share& share) {
  if (++share.at_limit < share.limited) return;
  share.reached.store(share.plan->limit.load(std::memory_order_acquire), std::memory_order_release);
  shared_.reached();
}

void Executor::refuse(Refusal refusal, const Plan& plan, const TaskActor& task, MessageKind kind, int32_t reg,
                      int64_t version) {
  const PlanRegister& of = plan.reg(RegisterId(reg));
  Fault fault;
  fault.what = std::string(kind == MessageKind::ready ? "ready" : "freed") + " for version " + std::to_string(version) +
               " of register '" + of.name + "' refused: " + std::string(text_of(refusal));
  shared_.raise(fault_at(plan, task.id(), std::move(fault)));
}

void Executor::fail(const std::string& what) {
  Fault fault;
  fault.what = what;
  fail(std::move(fault));
}

void Executor::fail(Fault fault) {
  if (current_ != nullptr) {
    fault = fault_at(current_->share->plan->plan(), current_->head().id(), std::move(fault));
  }
  shared_.raise(std::move(fault));
}

}  // namespace troupe
