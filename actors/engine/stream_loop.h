// A stream's place in its order: per step each segment's tasks in order, the segment repeated so many times.
#pragma once

#include <cstdint>
#include <deque>
#include <iterator>
#include <vector>

#include "actors/engine/task_actor.h"

namespace troupe {

struct Share;

// Used by one executor at a time.
struct StreamLoop {
  struct Segment {
    int32_t repeat = 1;
    std::vector<TaskActor*> tasks;
  };
  enum class Wait : uint8_t {
    none,    // queued: its head may be able to fire
    head,    // for credits of its head
    source,  // for data
    limit,   // for the driver's next word
  };

  StreamId id;
  Share* share = nullptr;
  bool runs_ahead = false;
  std::vector<Segment> segments;  // none of them empty; together at least one task

  Wait wait = Wait::limit;
  int64_t step = 0;
  TaskActor* const* next = nullptr;  // the head of the stream
  TaskActor* const* end = nullptr;   // of its segment
  int32_t repeat = 0;                // of its segment
  size_t segment = 0;
  int64_t position = 0;  // firings of this step that are done; only kept while observed
  Stream device_stream;
  // What is told once the device's queue has passed a mark.
  struct Held {
    enum class What : uint8_t { message, limit_reached, nothing };
    What what;
    uint64_t mark;
    TaskId task;  // whose firing it is behind
    MessageKind kind{};
    const Route* route = nullptr;
    int64_t version = 0;
    int32_t slot = 0;
  };
  std::deque<Held> held;
  TaskId put;  // the last whose kernel was put into the queue, where nothing that is held is behind it

  TaskActor& head() const { return **next; }
  // Firings of this step that are done.
  int64_t done() const {
    int64_t count = 0;
    for (size_t s = 0; s < segment; ++s) count += segments[s].repeat * std::ssize(segments[s].tasks);
    return count + repeat * std::ssize(segments[segment].tasks) + (next - segments[segment].tasks.data());
  }

  // Until the driver says go.
  void restart(int64_t first_step) {
    step = first_step;
    position = 0;
    wait = runs_ahead ? Wait::source : Wait::limit;
    held.clear();
    put = TaskId();
    enter(0);
  }

  // Past the head. True when that was the step's last firing: the head is now the first of the next step.
  bool advance() {
    if (++next != end) [[likely]]
      return false;
    if (++repeat < segments[segment].repeat) {
      next = segments[segment].tasks.data();
      return false;
    }
    if (segment + 1 < segments.size()) {
      enter(segment + 1);
      return false;
    }
    enter(0);
    ++step;
    return true;
  }

 private:
  void enter(size_t index) {
    segment = index;
    repeat = 0;
    next = segments[index].tasks.data();
    end = next + segments[index].tasks.size();
  }
};

}  // namespace troupe
