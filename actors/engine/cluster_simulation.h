// A whole run over processes without threads or sockets, under simulated time, from one seed: the driver's blocking
// calls, the workers and their executors are those of real processes; what lies between them, the network and the
// processes themselves, is simulated, with all that can go wrong there.
//
// The driver runs on this as its courier: while it waits for messages, simulated time passes and the rest happens.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine/driver.h"
#include "actors/engine/simulation.h"
#include "actors/engine/worker.h"

namespace troupe {

struct ClusterOptions {
  uint64_t seed = 0;
  std::string token{};
  double kernel_s = 0.02;   // at most
  double lane_s = 0.01;     // that a message between executors takes, at most
  double control_s = 0.01;  // that one between the driver and a worker takes, at most
  double repeat = 0;        // how likely a control message comes twice
  double late = 0;          // how likely with each message one of an older request or life comes once more
  double limit_s = 1000;    // of simulated time; whoever waits longer waits for ever
};

// Not thread-safe. Processes are numbered in the order of being made; that is not the driver's number.
class ClusterSimulation final : public Courier {
 public:
  // Clock and kernels outlive it. The clock is the driver's too.
  ClusterSimulation(SimulatedClock& clock, const KernelTable& kernels, const ClusterOptions& options);

  // A process that joins after so long. It is "host2", process 102, when it is number 2. What it shows may be wrong.
  int add_process(WorkerShare share, double joins_after_s, const std::function<void(Join&)>& show = nullptr);
  // Who has this number for the driver; -1: nobody.
  int process_of_worker(int worker) const;
  // Why the driver has not let it in; empty when it has.
  const std::string& refused(int process) const { return at(process).refused; }
  // It has ended as it was told to.
  bool has_left(int process) const { return at(process).left; }

  // ---- what can go wrong ----
  void crash(int process);              // and the driver is told that the connection is closed
  void silence(int process, double s);  // stopped, and goes on after so long
  void cut(int process);                // nothing passes to or from it any more, and nobody is told

  // Called with each command that the driver sends, which it may change, and with each firing that begins in a process
  // (false: its kernel never ends).
  std::function<void(int process, Command&)> sends;
  std::function<bool(int process, const LoadedPlan&, const TaskActor&)> fires;

  void send(int worker, uint64_t request, const Command& command) override;
  void receive(Crew& crew, double at_most_s) override;

  Simulation& simulation() { return simulation_; }
  Events& events() { return events_; }
  Random& random() { return random_; }

 private:
  struct Said {  // by a process to the driver; none: the connection is closed
    int process = 0;
    std::optional<Reply> reply;
  };
  struct Task {  // of a worker's thread: a command, or to look what its executors say
    uint64_t request = 0;
    std::optional<Command> command;
    double came = 0;
  };
  struct Process {
    Process(const KernelTable& kernels, const Clock& clock) : worker(kernels, clock) {}
    Worker worker;
    Join join;
    int index = -1;  // for the driver
    bool frozen = false;
    bool crashed = false;
    bool cut = false;
    bool left = false;
    bool added = false;  // its engine, to the simulation
    std::string refused;
    double beat_s = 0;
    std::deque<Task> tasks;
    double last_to = 0;  // when the last message to it, from it arrives
    double last_from = 0;
    std::vector<std::pair<uint64_t, Command>> commands;  // requests of the past
    std::vector<Reply> replies;                          // answers of the past
  };
  const Process& at(int process) const { return *processes_.at(static_cast<size_t>(process)); }
  Process& at(int process) { return *processes_.at(static_cast<size_t>(process)); }
  int process_of(const Engine& engine) const;
  void join(int process, double after_s);
  double arrival(double& last);
  void deliver(int process, uint64_t request, const Command& command);
  void say(int process, const std::optional<Reply>& reply);
  void say_once(int process, const std::optional<Reply>& reply);
  void carry_out(int process);
  void leave(int process);
  void beat(int process);
  void hear(Crew& crew, const Said& said);

  SimulatedClock& clock_;
  const KernelTable& kernels_;
  const ClusterOptions options_;
  Random random_;
  Events events_{clock_};
  Simulation simulation_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::deque<Said> inbox_;  // the driver's
};

}  // namespace troupe
