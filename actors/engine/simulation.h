// Runs an engine without threads, under simulated time, from one seed: kernels take random times, messages arrive
// after random delays, in order only between the same two executors. Every value is compared with the interpreter's.
//
// A kernel computes at the end of its time; at its beginning its fresh outputs are filled with rubbish, at its end its
// inputs must be what they were. So a slot that is written too early or freed too early shows, whatever the timing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "actors/engine/engine.h"
#include "actors/engine/interpreter.h"
#include "runtime/base/random.h"

namespace troupe {

struct SimulationOptions {
  uint64_t seed = 0;
  double kernel_s = 1;   // at most
  double message_s = 1;  // at most
};

// A protocol error to be caught.
enum class Mischief : uint8_t {
  none,
  lose,        // a message never arrives
  repeat,      // it arrives twice
  free_early,  // the producer hears that a version is free that is still to be read
};

class Simulation {
 public:
  // Nobody else runs the engine's executors; `clock` is the engine's.
  Simulation(Engine& engine, SimulatedClock& clock, const SimulationOptions& options);

  // What the plan is compared with from its next life on: starts at the same step, is run ahead as needed.
  void expect(PlanHandle handle, Interpreter& expected);
  // Random bytes for the initial versions of all registers of the plan, for its interpreter too.
  void fill(PlanHandle handle);
  // Runs the steps that the engine has been told to (`engine.start`). Returns what went wrong; nothing when all is
  // well.
  std::optional<std::string> run();
  // Ends what still runs: sources that read ahead, messages under way. Before a plan starts afresh.
  void settle();
  // Does this to one of the messages from now on.
  void make(Mischief mischief) { mischief_ = mischief; }
  Mischief mischief() const { return mischief_; }  // none once it has been done

  double now() const { return clock_.now(); }
  int64_t firings() const { return firings_; }

 private:
  struct Event {
    double at;
    int64_t number;  // of equal times, first come first served
    int executor;
    std::optional<Message> message;  // none: the executor's kernel ends
    bool operator>(const Event& other) const { return std::pair(at, number) > std::pair(other.at, other.number); }
  };
  void begin(int executor);
  void end(int executor);
  void collect(int from);
  void send(int from, int to, const Message& message);
  void step();
  void compare(const LoadedPlan& plan, const TaskActor& task);
  uint64_t inputs_hash(const TaskActor& task) const;

  Engine& engine_;
  SimulatedClock& clock_;
  const SimulationOptions options_;
  Random random_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<StreamLoop*> running_;   // by executor
  std::vector<uint64_t> inputs_;       // by executor: hash at the beginning
  std::vector<double> last_delivery_;  // by sender and receiver
  std::optional<std::string> wrong_;
  int64_t number_ = 0;
  int64_t firings_ = 0;
  Mischief mischief_ = Mischief::none;
  std::map<PlanHandle, Interpreter*> expected_;
};

}  // namespace troupe
