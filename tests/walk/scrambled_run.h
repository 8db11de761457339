// Runs an engine without threads, under simulated time, from one seed: real kernels take random times, messages between
// executors arrive after random delays. A kernel computes at the end of its time; at its beginning what it will write
// is filled with rubbish, and at its end what it reads must be unchanged. So bytes that two tensors share too early
// show, whatever the timing. (The engine's own Simulation compares every value with an interpreter, which needs plans
// whose registers do not take over each other's memory.) Without a seed kernels take the time that the plan predicts,
// and messages none.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "actors/engine/engine.h"
#include "runtime/base/random.h"

namespace troupe {

class ScrambledRun {
 public:
  // Nobody else runs the engine's executors; `clock` is the engine's.
  ScrambledRun(Engine& engine, SimulatedClock& clock, std::optional<uint64_t> seed);
  // Runs the steps that the engine has been told to. Returns what went wrong; nothing when all is well.
  std::optional<std::string> run();

 private:
  struct Event {
    double at;
    int64_t number;  // of equal times, first come first served
    int executor;
    std::optional<Message> message;  // none: the executor's kernel ends
    bool operator>(const Event& other) const { return std::pair(at, number) > std::pair(other.at, other.number); }
  };
  void begin(int executor);
  double seconds(const StreamLoop& stream);
  void end(int executor);
  void send_what_is_posted(int from);

  Engine& engine_;
  SimulatedClock& clock_;
  const bool as_predicted_;
  Random random_;
  double kernel_s_;
  double message_s_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<StreamLoop*> running_;   // by executor
  std::vector<uint64_t> inputs_;       // by executor: hash at the beginning
  std::vector<double> last_delivery_;  // by sender and receiver: each pair's messages stay in order
  std::optional<std::string> wrong_;
  int64_t number_ = 0;
};

}  // namespace troupe
