// One sender's way to one receiver: a bounded ring without locks. All lanes that end at an executor are its inbox.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "actors/engine/message.h"
#include "runtime/base/check.h"

namespace troupe {

// `stage` and `publish` belong to the sender's thread, `take` and `empty` to the receiver's. Credits bound what can be
// under way, so a full lane is an error of ours.
class Lane {
 public:
  Lane() : ring_(1) {}

  // Room for at least so many messages; drops what is in it. While neither side is active.
  void reserve(int64_t messages) {
    size_t size = 1;
    while (size < static_cast<size_t>(messages)) size *= 2;
    if (size > ring_.size()) ring_.resize(size);
    clear();
  }
  void clear() {
    head_.store(0);
    tail_.store(0);
    staged_ = 0;
    seen_head_ = 0;
    seen_tail_ = 0;
  }
  size_t capacity() const { return ring_.size(); }

  void stage(const Message& message) {
    if (staged_ - seen_head_ == ring_.size()) {
      seen_head_ = head_.load(std::memory_order_acquire);
      CHECK(staged_ - seen_head_ < ring_.size(), "lane is full", ring_.size());
    }
    ring_[staged_++ & (ring_.size() - 1)] = message;
  }
  // Makes what was staged visible. Sequentially consistent, so that the sender, who next looks whether the receiver
  // sleeps, and the receiver, who says so and then looks here, cannot both miss the other.
  void publish() { tail_.store(staged_, std::memory_order_seq_cst); }

  bool take(Message& message) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == seen_tail_) {
      seen_tail_ = tail_.load(std::memory_order_seq_cst);
      if (head == seen_tail_) return false;
    }
    message = ring_[head & (ring_.size() - 1)];
    head_.store(head + 1, std::memory_order_release);
    return true;
  }
  bool empty() const { return tail_.load(std::memory_order_seq_cst) == head_.load(std::memory_order_relaxed); }

 private:
  // Sender and receiver each write their own cache line. Two lines apart: the neighbour is prefetched with it.
  alignas(128) std::atomic<uint64_t> tail_{0};
  uint64_t staged_ = 0;
  uint64_t seen_head_ = 0;
  alignas(128) std::atomic<uint64_t> head_{0};
  uint64_t seen_tail_ = 0;
  alignas(128) std::vector<Message> ring_;
};

}  // namespace troupe
