#include "actors/engine/cluster_scenario.h"

#include <iterator>
#include <utility>

#include "actors/engine/sample_graphs.h"
#include "actors/engine/sample_step.h"

namespace troupe {
namespace {

constexpr char kToken[] = "secret";
constexpr int kDevices = 5;
constexpr int64_t kSteps = 30;  // that there are batches for
constexpr int kUnknownPlan = 7;
const std::vector<WorkerShare> kShares = {{1, 1}, {2, 1}, {2, 2}};

constexpr const char* kTroubleNames[] = {"Nothing", "Crash",       "Stop",        "StopAndWake", "Nap",
                                         "Cut",     "KernelFails", "KernelHangs", "MessageLost", "CommandFails"};
constexpr const char* kPhaseNames[] = {"Join",    "Welcome",  "Load",       "Sources",  "Restart",    "Go",
                                       "Forward", "Backward", "Collective", "Update",   "Evaluation", "Pause",
                                       "Observe", "Stop",     "Unload",     "Shutdown", "Dismiss"};
static_assert(std::size(kPhaseNames) == kPhases);

// What the tasks of a phase are called.
std::string tasks_of(Phase phase) {
  if (phase == Phase::kForward) return "forward";
  if (phase == Phase::kBackward) return "backward";
  if (phase == Phase::kCollective) return "sum";
  if (phase == Phase::kUpdate) return "update";
  return phase == Phase::kEvaluation ? "evaluate" : "";
}

uint64_t failing_key = 0;  // of the task whose kernel fails next; 0: none

void mix_or_fail(const KernelArgs& args, Stream& stream) {
  static const KernelTable sound = sample_kernels();
  if (failing_key == 0 || args.key != failing_key) return sound.find("mix", DeviceKind::cpu)(args, stream);
  failing_key = 0;
  *args.failure = "a value is not finite";
}

KernelTable fragile_kernels() {
  KernelTable kernels;
  kernels.add("mix", DeviceKind::cpu, mix_or_fail);
  return kernels;
}

ClusterOptions with_token(ClusterOptions options) {
  options.token = kToken;
  return options;
}

}  // namespace

std::string Cell::name() const {
  return std::string(kTroubleNames[static_cast<int>(trouble)]) + "During" + kPhaseNames[static_cast<int>(phase)];
}

bool Cell::is_gone() const {
  return trouble == Trouble::kCrash || trouble == Trouble::kStop || trouble == Trouble::kStopAndWake ||
         trouble == Trouble::kCut;
}

Scenario::Scenario(const Cell& cell, ClusterOptions options)
    : cell_(cell),
      kernels_(fragile_kernels()),
      sound_kernels_(sample_kernels()),
      train_plan_(sample_step(kDevices)),
      evaluation_plan_(sample_evaluation(kDevices)),
      feed_(sample_feed(1, kSteps)),
      cluster_(clock_, kernels_, with_token(options)),
      driver_(cluster_, {processes(), kToken, kHeartbeat}, clock_) {
  failing_key = 0;
  Random& random = cluster_.random();
  victim_ = static_cast<int>(random.below(processes()));
  for (const WorkerShare& share : kShares) cluster_.add_process(share, random.uniform() * 0.1);
  if (cell.trouble == Trouble::kNone) return;
  skip_ = tasks_of(cell.phase).empty() ? random.below(commands_before()) * processes() : random.below(12);
  if (cell.phase == Phase::kJoin) cluster_.events().at(random.uniform() * 0.12, 0, [this] { happen(); });
  cluster_.sends = [this](int process, Command& command) { on_command(process, command); };
  cluster_.fires = [this](int, const LoadedPlan& plan, const TaskActor& task) {
    return on_firing(plan.plan().task(task.id()));
  };
}

int Scenario::processes() const { return static_cast<int>(kShares.size()); }

std::string Scenario::victim_name() const {
  for (int w = 0; w < processes(); ++w) {
    if (cluster_.process_of_worker(w) != victim_) continue;
    const std::string victim = std::to_string(victim_);
    return "worker " + std::to_string(w) + " (host" + victim + ", process 10" + victim + ")";
  }
  return "";
}

// ---- the program ----

void Scenario::script() {
  attempt([&] {
    while (!driver_.gather(0.3, 20)) {
    }
    train_ = driver_.load(std::make_shared<const Plan>(train_plan_), {});
    driver_.set_sources(train_, sources_of(feed_));
    const PlanHandle evaluation = driver_.load(std::make_shared<const Plan>(evaluation_plan_), {});
    afresh(train_, train_plan_, 0);
    run(train_, 0, 3);
    afresh(evaluation, evaluation_plan_, 0);
    run(evaluation, 0, 3);
    driver_.observe(train_, Observe{.counts = true});
    run(train_, 3, 3);
    check_firings(driver_.observations(train_), 3);
    driver_.start(train_, 6, 1000);
    if (driver_.wait_for(0.3, kPatience)) wrong_ = "more steps than there are batches for";
    driver_.stop();
    begin_again(20);
    driver_.unload(evaluation);
  });
}

void Scenario::begin_again(int64_t step) {
  afresh(train_, train_plan_, step);
  run(train_, step, 3);
}

void Scenario::set_sources(uint64_t key) {
  feed_ = sample_feed(key, kSteps);
  driver_.set_sources(train_, sources_of(feed_));
}

void Scenario::afresh(PlanHandle handle, const Plan& plan, int64_t step) {
  expected_.push_back(std::make_unique<Interpreter>(plan, sound_kernels_, sources_of(feed_), step));
  cluster_.simulation().expect(handle, *expected_.back());
  cluster_.simulation().fill(handle, plan, driver_.registers(handle));
}

void Scenario::run(PlanHandle handle, int64_t first_step, int64_t steps) {
  driver_.start(handle, first_step, steps);
  while (!driver_.wait_for(0.4, kPatience)) {
  }
}

void Scenario::check_firings(const Observations& seen, int64_t steps) {
  for (size_t t = 0; t < train_plan_.tasks.size(); ++t) {
    const PlanTask& task = train_plan_.tasks[t];
    if (task.kind == TaskKind::source || seen.tasks.at(t).firings == steps * task.firings_per_step) continue;
    wrong_ = "'" + task.name + "' is said to have fired " + std::to_string(seen.tasks[t].firings) + " times";
  }
}

void Scenario::attempt(const std::function<void()>& what) {
  told_.reset();
  fault_.reset();
  try {
    what();
  } catch (const FaultError& error) {
    told_ = error.what();
    fault_ = error.fault();
  } catch (const PlanError& error) {
    told_ = error.what();
  }
  told_at_ = clock_.now();
}

Scenario::End Scenario::end() {
  ending_ = true;
  const double began = clock_.now();
  driver_.shutdown();
  const double shut = clock_.now();
  driver_.dismiss();
  const double dismissed = clock_.now();
  driver_.shutdown();
  cluster_.events().run_until(dismissed + 5 * kHeartbeat);  // somebody may wake up
  return {shut - began, dismissed - shut};
}

// ---- what goes wrong ----

int64_t Scenario::commands_before() const {
  if (cell_.phase == Phase::kRestart) return 3;
  if (cell_.phase == Phase::kGo || cell_.phase == Phase::kPause) return 4;
  return cell_.phase == Phase::kObserve || cell_.phase == Phase::kLoad ? 2 : 1;
}

bool Scenario::is_of_phase(const Command& command) const {
  switch (cell_.phase) {
    case Phase::kWelcome:
      return std::holds_alternative<Welcome>(command);
    case Phase::kLoad:
      return std::holds_alternative<LoadPlan>(command);
    case Phase::kSources:
      return std::holds_alternative<SetSources>(command);
    case Phase::kRestart:
      return std::holds_alternative<Restart>(command);
    case Phase::kGo:
      return std::holds_alternative<Go>(command);
    case Phase::kPause:
      return std::holds_alternative<Hold>(command);
    case Phase::kObserve:
      return std::holds_alternative<SetObserved>(command) || std::holds_alternative<GetObserved>(command);
    case Phase::kStop:
      return std::holds_alternative<Stop>(command);
    case Phase::kUnload:
      return std::holds_alternative<UnloadPlan>(command);
    case Phase::kShutdown:
      return ending_;
    case Phase::kDismiss:
      return std::holds_alternative<Leave>(command);
    default:
      return false;
  }
}

void Scenario::on_command(int process, Command& command) {
  if (happens_ || !is_of_phase(command) || skip_-- > 0) return;
  if (cell_.trouble != Trouble::kCommandFails) return soon();
  if (process != victim_) return;
  happens_ = true;
  happened_at_ = clock_.now();
  spoil(command);
}

bool Scenario::on_firing(const PlanTask& task) {
  const std::string tasks = tasks_of(cell_.phase);
  if (happens_ || tasks.empty() || !task.name.starts_with(tasks) || skip_-- > 0) return true;
  if (cell_.trouble != Trouble::kKernelHangs && cell_.trouble != Trouble::kKernelFails) {
    soon();
    return true;
  }
  happens_ = true;
  happened_at_ = clock_.now();
  task_ = task.name;
  if (cell_.trouble == Trouble::kKernelHangs) return false;
  failing_key = task.key;
  return true;
}

void Scenario::soon() {
  happens_ = true;
  cluster_.events().at(clock_.now() + cluster_.random().uniform() * 0.02, 0, [this] { happen(); });
}

void Scenario::happen() {
  happened_at_ = clock_.now();
  const double some = cluster_.random().uniform();
  if (cell_.trouble == Trouble::kCrash) cluster_.crash(victim_);
  if (cell_.trouble == Trouble::kStop) cluster_.silence(victim_, 1e6);
  if (cell_.trouble == Trouble::kStopAndWake) cluster_.silence(victim_, kHeartbeat * (1.5 + some));
  if (cell_.trouble == Trouble::kNap) cluster_.silence(victim_, kHeartbeat * 0.5 * some);
  if (cell_.trouble == Trouble::kCut) cluster_.cut(victim_);
  if (cell_.trouble == Trouble::kMessageLost) cluster_.simulation().make(Mischief::lose);
}

// So that it cannot be carried out: memory or files that are not there, a plan that nobody knows.
void Scenario::spoil(Command& command) {
  if (auto* welcome = std::get_if<Welcome>(&command)) welcome->doorbells.file = -1;
  if (auto* load = std::get_if<LoadPlan>(&command)) {
    ArenaFile* files[] = {&load->plan, &load->lanes, &load->blocks.front().file};
    files[cluster_.random().below(std::ssize(files))]->file = -1;
  }
  if (auto* sources = std::get_if<SetSources>(&command)) {
    sources->sources.front().feed = -1;
    sources->sources.front().rows.paths = {"/a file that is not there"};
  }
  if (auto* restart = std::get_if<Restart>(&command)) restart->handle = kUnknownPlan;
  if (auto* go = std::get_if<Go>(&command)) go->handle = kUnknownPlan;
  if (auto* observe = std::get_if<SetObserved>(&command)) observe->handle = kUnknownPlan;
  if (auto* observed = std::get_if<GetObserved>(&command)) observed->handle = kUnknownPlan;
  if (auto* unload = std::get_if<UnloadPlan>(&command)) unload->handle = kUnknownPlan;
}

}  // namespace troupe
