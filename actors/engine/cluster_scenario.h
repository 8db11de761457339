// A program that trains over three simulated processes, and one thing that goes wrong at a random moment of one phase.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine/cluster_simulation.h"
#include "actors/engine/feed.h"

namespace troupe {

enum class Trouble {
  kNone,
  kCrash,        // of a process
  kStop,         // of one, which closes nothing
  kStopAndWake,  // it goes on when it has long been given up
  kNap,          // it goes on in time
  kCut,          // nothing passes to and from it any more
  kKernelFails,
  kKernelHangs,
  kMessageLost,  // of a task to one of another executor
  kCommandFails  // in one process alone
};
enum class Phase {
  kJoin,
  kWelcome,
  kLoad,
  kSources,
  kRestart,
  kGo,
  kForward,
  kBackward,
  kCollective,
  kUpdate,
  kEvaluation,
  kPause,
  kObserve,
  kStop,
  kUnload,
  kShutdown,
  kDismiss
};
constexpr int kPhases = static_cast<int>(Phase::kDismiss) + 1;

struct Cell {
  Trouble trouble = Trouble::kNone;
  Phase phase = Phase::kJoin;
  std::string name() const;  // "CrashDuringForward"
  bool is_gone() const;      // the process, for the driver
};

class Scenario {
 public:
  static constexpr double kHeartbeat = 1;
  static constexpr double kPatience = 5;  // for a step

  Scenario(const Cell& cell, ClusterOptions options);

  // What the program does, up to what it is told of.
  void script();
  // A life from another step than where the plan stands.
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
  int victim() const { return victim_; }             // the process
  std::string victim_name() const;                   // as the driver calls it; empty when it has not joined
  const std::string& task() const { return task_; }  // whose kernel it is
  int processes() const;
  Driver& driver() { return driver_; }
  ClusterSimulation& cluster() { return cluster_; }
  PlanHandle train() const { return train_; }

 private:
  int64_t commands_before() const;
  void afresh(PlanHandle handle, const Plan& plan, int64_t step);
  void run(PlanHandle handle, int64_t first_step, int64_t steps);
  void check_firings(const Observations& seen, int64_t steps);
  bool is_of_phase(const Command& command) const;
  void on_command(int process, Command& command);
  bool on_firing(const PlanTask& task);
  void soon();
  void happen();
  void spoil(Command& command);

  const Cell cell_;
  SimulatedClock clock_;
  const KernelTable kernels_;
  const KernelTable sound_kernels_;
  const Plan train_plan_;
  const Plan evaluation_plan_;
  std::shared_ptr<Feed> feed_;
  std::vector<std::unique_ptr<Interpreter>> expected_;
  mutable ClusterSimulation cluster_;
  Driver driver_;
  PlanHandle train_;
  int victim_ = 0;
  int64_t skip_ = 0;      // so many such moments pass before
  bool happens_ = false;  // or has happened
  bool ending_ = false;
  std::optional<double> happened_at_;
  std::optional<std::string> told_;
  std::optional<Fault> fault_;
  double told_at_ = 0;
  std::optional<std::string> wrong_;
  std::string task_;
};

}  // namespace troupe
