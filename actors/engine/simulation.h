// Runs engines without threads, under simulated time, from one seed: kernels take random times, messages arrive after
// random delays, in order only between the same two executors (but for those that an exchange takes away). Every value
// is compared with the interpreter's.
//
// A kernel computes at the end of its time; at its beginning its fresh outputs are filled with rubbish, at its end its
// inputs must be what they were. So a slot that is written too early or freed too early shows, whatever the timing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine/engine.h"
#include "actors/engine/events.h"
#include "actors/engine/interpreter.h"
#include "runtime/base/random.h"

namespace troupe {

struct SimulationOptions {
  uint64_t seed = 0;
  double kernel_s = 1;   // at most
  double message_s = 1;  // at most
  double late = 0;       // how likely with each message one of an older life arrives once more
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
  Simulation(Events& events, const SimulationOptions& options)
      : events_(events), options_(options), random_(options.seed) {}

  // One with all executors of a run, or one process's part of it. Nobody else runs them; the events' clock is the
  // engine's. It lives until the last event.
  void add(Engine& engine);

  // What the plan is compared with from its next life on: starts at the same step, is run ahead as needed.
  void expect(PlanHandle handle, Interpreter& expected) { expected_[handle] = &expected; }
  // Random bytes for the initial versions of all registers of the plan, for its interpreter too.
  void fill(PlanHandle handle, const Plan& plan, const Registers& registers);
  // Runs the steps that the engines have been told to (`Engine::start`). Returns what went wrong; nothing when all is
  // well.
  std::optional<std::string> run();
  // Ends what still runs: sources that read ahead, messages under way. Before a plan starts afresh.
  void settle();
  // Does this to one of the messages from now on.
  void make(Mischief mischief) { mischief_ = mischief; }
  Mischief mischief() const { return mischief_; }                     // none once it has been done ...
  const std::optional<Message>& victim() const { return victim_; }    // ... to this message
  const std::optional<std::string>& wrong() const { return wrong_; }  // a value that is not the interpreter's

  // The process of an engine: its executors look whether there is something to do; whether a kernel of it runs; no
  // firing begins while it pauses; nothing at all happens in it while it is frozen, and then all that is due.
  void look(Engine& engine);
  bool busy(const Engine& engine) const;
  void pause(Engine& engine, bool paused) { process_of(engine).paused = paused; }
  void freeze(Engine& engine) { process_of(engine).frozen = true; }
  void thaw(Engine& engine);
  // Nothing that the executors of others send reaches it any more, nor what its own send others.
  void cut(Engine& engine) { process_of(engine).cut = true; }

  // When a firing begins. False: its kernel never ends.
  std::function<bool(const LoadedPlan&, const TaskActor&)> began;
  // When one has ended, and when messages have come: of the engine.
  std::function<void(Engine&)> moved;

  int64_t firings() const { return firings_; }

 private:
  struct Process {
    Engine* engine = nullptr;
    bool paused = false;
    bool frozen = false;
    bool cut = false;
    std::vector<std::function<void()>> due{};  // what has not happened because it is frozen
  };
  struct Running {
    StreamLoop* stream = nullptr;
    uint64_t inputs = 0;  // hash at the beginning
  };
  Process& process_of(const Engine& engine) const;
  Process& process_of(int executor) const { return *process_of_.at(static_cast<size_t>(executor)); }
  Executor& executor(int index) const { return process_of(index).engine->executor(index); }
  int executors() const { return static_cast<int>(process_of_.size()); }
  void happen(int executor, double when, uint64_t label, std::function<void()> what);
  void begin(int executor);
  void end(int executor);
  void collect(int from);
  void send(int from, int to, const Message& message);
  void send_late(int from, int to, const Message& message);
  void compare(const LoadedPlan& plan, const TaskActor& task);
  bool running() const;
  std::optional<Fault> fault() const;

  Events& events_;
  const SimulationOptions options_;
  Random random_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<Process*> process_of_;   // by executor
  std::vector<Running> running_;       // by executor
  std::vector<double> last_delivery_;  // by sender and receiver
  std::vector<Message> sent_;          // by sender and receiver: one to be sent once more when it is of an older life
  std::optional<std::string> wrong_;
  int64_t firings_ = 0;
  Mischief mischief_ = Mischief::none;
  std::optional<Message> victim_;
  std::map<PlanHandle, Interpreter*> expected_;
};

}  // namespace troupe
