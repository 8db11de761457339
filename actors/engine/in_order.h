// One direction of a connection: its messages in the order in which they were sent, each once, in whatever order and
// however often they come.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace troupe {

// Not thread-safe. Messages are numbered from 1; times are seconds of one clock.
template <class Message>
class InOrder {
 public:
  // One that has come before is dropped; one that comes early is kept until its turn.
  void put(uint64_t number, Message message, double now) {
    if (number >= due_) early_.try_emplace(number, Early{std::move(message), now});
  }
  // The next one, when it is here.
  std::optional<Message> take() {
    const auto first = early_.begin();
    if (first == early_.end() || first->first != due_) return std::nullopt;
    std::optional<Message> message = std::move(first->second.message);
    early_.erase(first);
    ++due_;
    return message;
  }
  // Those that have come early.
  template <class Visit>
  void each_early(const Visit& visit) const {
    for (const auto& [number, early] : early_) visit(early.message);
  }
  // The number of the next one.
  uint64_t due() const { return due_; }
  // When the first came that was sent after it and has to wait for it; nothing when none does.
  std::optional<double> missing_since() const {
    if (early_.empty() || early_.begin()->first == due_) return std::nullopt;
    return early_.begin()->second.came;
  }

 private:
  struct Early {
    Message message;
    double came = 0;
  };
  uint64_t due_ = 1;
  std::map<uint64_t, Early> early_;  // by number
};

}  // namespace troupe
