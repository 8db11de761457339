// A program that trains and evaluates over three simulated processes, and one thing that goes wrong at a random moment of
// one phase.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "actors/engine/cluster_simulation.h"
#include "actors/engine/feed.h"

namespace troupe {

enum class Trouble {
  kNone,
  kCrash,         // of a process
  kStop,          // of one, which closes nothing
  kStopAndWake,   // it goes on when it has long been given up
  kNap,           // it goes on in time
  kCut,           // nothing passes to and from it any more
  kLinkCut,       // between two hosts: both are told
  kLinkSilent,    // nobody is told
  kLinkOneWay,    // nothing passes in one direction, and nobody is told
  kKernelFails,   //
  kKernelThrows,  // a C++ exception
  kKernelHangs,   //
  kMessageLost,   // of a task to one of another executor
  kPacketLost,    // the same between two hosts
  kControlLost,   // of the driver or to it
  kRepeat,        // messages of the driver and to it come twice, those between hosts too
  kOvertake,      // those of the driver and to it are delayed past later ones
  kLate,          // such of older requests come once more
  kCommandFails   // in one process alone
};
enum class Phase {
  kJoin,
  kWelcome,
  kLoad,
  kSources,
  kWrite,  // the driver writes variables
  kRestart,
  kGo,
  kForward,
  kBackward,
  kCollective,
  kUpdate,
  kEvaluation,
  kPause,
  kObserve,
  kCheckpoint,  // the driver reads variables
  kStop,
  kUnload,
  kShutdown,
  kDismiss
};
constexpr int kPhases = static_cast<int>(Phase::kDismiss) + 1;

struct Cell {
  Trouble trouble = Trouble::kNone;
  Phase phase = Phase::kJoin;
  bool hosts = false;        // the second and third process are on hosts of their own, and share no memory
  std::string name() const;  // "CrashDuringForwardOverHosts"
  bool is_gone() const;      // a process, for the driver
  bool is_link() const;      // a link between two hosts no longer carries what it should
  bool is_kernel() const;
  bool is_harmless() const;  // it changes nothing
};

class Scenario {
 public:
  static constexpr double kHeartbeat = 1;
  static constexpr double kPatience = 5;  // for a step

  Scenario(const Cell& cell, ClusterOptions options);

  // What the program does, up to what it is told of.
  void script();
  // Other weights, and a life from another step than where the plan stands.
  void begin_again(int64_t step);
  // Other batches.
  void set_sources(uint64_t key);
  // Catches what the driver throws.
  void attempt(const std::function<void()>& what);
  // The end of the program, and a while for what still happens. Seconds that shutdown and dismissal took.
  struct End {
    double shutdown_s = 0;
    double dismiss_s = 0;
  };
  End end();

  // What the last attempt was told of; nothing when all went well.
  const std::optional<std::string>& told() const { return told_; }
  const std::optional<Fault>& fault() const { return fault_; }
  // From what happened until it was told; what is wrong all the same.
  double took() const { return told_at_ - *happened_at_; }
  const std::optional<std::string>& wrong() const { return wrong_ ? wrong_ : cluster_.simulation().wrong(); }

  bool happened() const { return happened_at_.has_value(); }
  int victim() const { return victim_; }                     // the process
  std::string name(int process) const;                       // as the driver calls it; empty when it has not joined
  int owner(const std::string& devices) const;               // the process of "cpu:3", of "cpu:3 to cpu:5"
  const std::pair<int, int>& link() const { return link_; }  // between these processes
  const std::string& task() const { return task_; }          // whose kernel it is
  std::string device_of(const std::string& task) const;      // of either plan
  // Whether the driver must have learnt that a task of another process waits for the victim and nobody else: one did when
  // it asked last where all stand, and does still.
  bool waits_for_victim() const;
  int processes() const;
  Driver& driver() { return driver_; }
  ClusterSimulation& cluster() { return cluster_; }
  PlanHandle train() const { return train_; }

 private:
  int64_t commands_before() const;
  void write_weights();
  void check_weights();
  void train_afresh(int64_t step);
  void train(int64_t first_step, int64_t steps);
  void evaluate(int64_t first_step);
  void interrupt(int64_t step);
  Interpreter& expect(PlanHandle handle, const Plan& plan, int64_t step);
  void run(PlanHandle handle, int64_t first_step, int64_t steps);
  void check_firings(const Observations& seen, int64_t steps);
  void choose_victims();
  void enter(Phase phase);
  bool is_of_phase(const Command& command) const;
  void on_command(int process, Command& command);
  bool on_firing(const PlanTask& task);
  Fate fate_of(size_t from, size_t to);
  // Of the task with this key, the next time; 0: none.
  void fail_kernel(uint64_t key) const;
  void soon();
  void happen();
  // The streams of other processes whose heads lack only what the victim has to give; which version, from which task.
  std::set<std::tuple<StreamId, TaskId, int64_t>> who_wait() const;
  void spoil(Command& command);

  const Cell cell_;
  SimulatedClock clock_;
  const KernelTable kernels_;
  const KernelTable sound_kernels_;
  const Plan train_plan_;
  const Plan evaluation_plan_;
  std::shared_ptr<Feed> feed_;
  std::vector<std::unique_ptr<Interpreter>> expected_;
  std::vector<std::vector<std::byte>> weights_;  // by variable: as they are to be now
  Interpreter* training_ = nullptr;              // the life of the plan
  int64_t life_began_ = 0;                       // with this step
  mutable ClusterSimulation cluster_;
  Driver driver_;
  PlanHandle train_;
  PlanHandle evaluation_;
  int victim_ = 0;
  std::pair<int, int> link_;
  int64_t skip_ = 0;      // so many such moments pass before
  bool happens_ = false;  // or has happened
  bool ending_ = false;
  bool updates_ = false;     // variables, since it was last said that none is
  bool repeats_ = false;     // messages between hosts come twice from now on
  bool loses_next_ = false;  // of them
  std::optional<double> happened_at_;
  std::optional<std::string> told_;
  std::optional<Fault> fault_;
  double told_at_ = 0;
  std::optional<std::string> wrong_;
  std::string task_;
  PlanHandle goes_;                                                    // the plan that was last told to
  std::set<std::tuple<StreamId, TaskId, int64_t>> waited_when_asked_;  // see waits_for_victim
};

}  // namespace troupe
