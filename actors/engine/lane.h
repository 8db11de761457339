// One sender's way to one receiver: a bounded ring without locks, in memory that both map (zeroed memory is an empty
// lane). All lanes that end at an executor are its inbox.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/base/check.h"
#include "runtime/comm/message.h"

namespace troupe {

// Where a lane lies. A value: any number of these may say the same.
class Lane {
 public:
  // No lane: nothing ever goes this way.
  Lane() = default;
  // Uses bytes_for(capacity) bytes of memory; a power of two of messages.
  Lane(std::byte* memory, size_t capacity)
      : state_(reinterpret_cast<State*>(memory)),
        ring_(reinterpret_cast<Message*>(memory + sizeof(State))),
        capacity_(capacity) {}

  // Room for at least so many messages.
  static size_t capacity_for(int64_t messages) {
    size_t size = 1;
    while (size < static_cast<size_t>(messages)) size *= 2;
    return size;
  }
  static size_t bytes_for(size_t capacity) {
    const size_t line = alignof(State);
    return (sizeof(State) + capacity * sizeof(Message) + line - 1) / line * line;
  }

  explicit operator bool() const { return state_ != nullptr; }
  size_t capacity() const { return capacity_; }

 private:
  friend class LaneSender;
  friend class LaneReceiver;
  // Sender and receiver each write their own cache line. Two lines apart: the neighbour is prefetched with it.
  struct State {
    alignas(128) std::atomic<uint64_t> tail;  // published
    alignas(128) std::atomic<uint64_t> head;  // taken
  };
  static_assert(std::atomic<uint64_t>::is_always_lock_free);  // so that processes may share it

  State* state_ = nullptr;
  Message* ring_ = nullptr;
  size_t capacity_ = 0;
};

// The sender's end, used by one thread. Credits bound what can be under way, so a full lane is an error of ours.
class LaneSender {
 public:
  LaneSender() = default;
  explicit LaneSender(const Lane& lane)
      : lane_(lane), staged_(lane ? lane.state_->tail.load() : 0), seen_head_(lane ? lane.state_->head.load() : 0) {}

  // For messages of another process, which are not trusted.
  bool full() {
    if (staged_ - seen_head_ == lane_.capacity_) seen_head_ = lane_.state_->head.load(std::memory_order_acquire);
    return staged_ - seen_head_ == lane_.capacity_;
  }
  void stage(const Message& message) {
    if (staged_ - seen_head_ == lane_.capacity_) CHECK(!full(), "lane is full", lane_.capacity_);
    lane_.ring_[staged_++ & (lane_.capacity_ - 1)] = message;
  }
  // Makes what was staged visible. Sequentially consistent, so that the sender, who next looks whether the receiver
  // sleeps, and the receiver, who says so and then looks here, cannot both miss the other.
  void publish() { lane_.state_->tail.store(staged_, std::memory_order_seq_cst); }

 private:
  Lane lane_;
  uint64_t staged_ = 0;
  uint64_t seen_head_ = 0;
};

// The receiver's end, used by one thread; what another receiver has taken before is gone.
class LaneReceiver {
 public:
  explicit LaneReceiver(const Lane& lane) : lane_(lane), seen_tail_(lane.state_->tail.load()) {}

  bool take(Message& message) {
    const uint64_t head = lane_.state_->head.load(std::memory_order_relaxed);
    if (head >= seen_tail_) {
      seen_tail_ = lane_.state_->tail.load(std::memory_order_seq_cst);
      if (head >= seen_tail_) return false;
    }
    message = lane_.ring_[head & (lane_.capacity_ - 1)];
    lane_.state_->head.store(head + 1, std::memory_order_release);
    return true;
  }
  bool empty() const {
    return lane_.state_->tail.load(std::memory_order_seq_cst) == lane_.state_->head.load(std::memory_order_relaxed);
  }

 private:
  Lane lane_;
  uint64_t seen_tail_ = 0;
};

}  // namespace troupe
