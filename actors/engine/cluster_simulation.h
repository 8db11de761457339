// A whole run over processes without threads or sockets, under simulated time, from one seed: the driver's blocking
// calls, the workers, their executors and exchanges are those of real processes; what lies between them, the networks and
// the processes themselves, is simulated, with all that can go wrong there.
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
#include "actors/engine/queue_network.h"
#include "actors/engine/simulation.h"
#include "actors/engine/worker.h"

namespace troupe {

struct ClusterOptions {
  uint64_t seed = 0;
  std::string token{};
  double kernel_s = 0.02;   // at most
  double lane_s = 0.01;     // that a message between executors takes, at most
  double lane_late = 0.05;  // how likely with each one of an older life arrives once more
  double control_s = 0.01;  // that one between the driver and a worker takes, at most
  double network_s = 0.01;  // that one between hosts takes, at most; the bytes behind it take up to three times as long
  double limit_s = 1000;    // of simulated time; whoever waits longer waits for ever
};

// How likely each message between the driver and a worker ...
struct Disturbance {
  double repeat = 0;    // comes twice
  double overtake = 0;  // is delayed past later ones
  double late = 0;      // has one of an older request come once more
};

// Not thread-safe. Processes are numbered in the order of being made; that is not the driver's number, which is kDriver
// here.
class ClusterSimulation final : public Courier {
 public:
  static constexpr int kDriver = -1;

  // Clock and kernels outlive it. The clock is the driver's too.
  ClusterSimulation(SimulatedClock& clock, const KernelTable& kernels, const ClusterOptions& options);

  // A process that joins after so long. It is "host2", process 102, when it is number 2, and shares memory with the
  // driver; what it shows may be another host's, or wrong.
  int add_process(WorkerShare share, double joins_after_s, const std::function<void(Join&)>& show = nullptr);
  // Who has this number for the driver; -1: nobody.
  int process_of_worker(int worker) const;
  // Null before it has been welcomed.
  const Engine* engine(int process) { return at(process).worker.engine(); }
  // Why the driver has not let it in; empty when it has.
  const std::string& refused(int process) const { return at(process).worker.refused(); }
  // It has ended as it was told to.
  bool has_left(int process) const { return at(process).left; }

  // ---- what can go wrong ----
  void crash(int process);              // and all are told that its connections are closed
  void silence(int process, double s);  // stopped, and goes on after so long
  void cut(int process);                // nothing passes to or from it any more, and nobody is told
  void cut_link(int a, int b);          // between hosts: both are told
  void mute_link(int from, int to);     // one way, and nobody is told
  void disturb(const Disturbance& with) { disturbance_ = with; }  // from now on
  // As `networks` knows it.
  size_t network_of(int process) const;
  // The next message to, or from, a process never arrives.
  void lose_command(int process) { at(process).lose_to = true; }
  void lose_reply(int process) { at(process).lose_from = true; }

  // Called with each command that the driver sends, which it may change, and with each firing that begins in a process
  // (false: its kernel never ends).
  std::function<void(int process, Command&)> sends;
  std::function<bool(int process, const LoadedPlan&, const TaskActor&)> fires;

  void send(int worker, const Order& order) override;
  void receive(Crew& crew, double at_most_s) override;
  std::unique_ptr<Network> make_network() override;
  std::shared_ptr<void> serve(Exchange& exchange) override;
  bool done(const Exchange& exchange, const ExchangeJob& job, double at_most_s) override;

  Simulation& simulation() { return simulation_; }
  QueueNetworks& networks() { return networks_; }
  Events& events() { return events_; }
  Random& random() { return random_; }

 private:
  struct Heard {  // by the driver, of a process; nothing: the connection is closed
    int process = 0;
    std::optional<Said> said;
  };
  struct Task {  // of a worker's thread: a command, or to look what its executors say
    std::optional<Order> order;
    double came = 0;
  };
  struct Process {
    Process(const KernelTable& kernels, const Clock& clock, Worker::MakeNetwork make_network)
        : worker(kernels, clock, std::move(make_network)) {}
    Worker worker;
    Join join;
    int index = -1;  // for the driver
    bool frozen = false;
    bool crashed = false;
    bool cut = false;
    bool left = false;
    bool added = false;  // its engine, to the simulation
    bool lose_to = false;
    bool lose_from = false;
    std::deque<Task> tasks;
    double last_to = 0;  // when the last message to it, from it arrives
    double last_from = 0;
    std::vector<Order> orders;  // requests of the past
    std::vector<Said> replies;  // answers of the past
    int network = -1;           // -1: it has none
  };
  const Process& at(int process) const { return *processes_.at(static_cast<size_t>(process)); }
  Process& at(int process) { return *processes_.at(static_cast<size_t>(process)); }
  int process_of(const Engine& engine) const;
  void join(int process, double after_s);
  double arrival(double& last);
  void deliver(int process, const Order& order);
  void deliver_once(int process, const Order& order);
  void say(int process, const std::optional<Said>& said);
  void say_once(int process, const std::optional<Said>& said);
  void carry_out(int process);
  double patience_for_kernels(const Process& process, const Task& task) const;
  void leave(int process);
  void beat(int process);
  void hear(Crew& crew, const Heard& heard);
  void check_limit() const;
  // Of exchanges.
  void progress(size_t network);
  void progress_soon(const Process& process);
  void look_at_links(size_t network);

  SimulatedClock& clock_;
  const KernelTable& kernels_;
  const ClusterOptions options_;
  Disturbance disturbance_;
  Random random_;
  Events events_{clock_};
  Simulation simulation_;
  QueueNetworks networks_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::deque<Heard> inbox_;  // the driver's
  size_t driver_network_ = 0;
  Exchange* driver_exchange_ = nullptr;
};

}  // namespace troupe
