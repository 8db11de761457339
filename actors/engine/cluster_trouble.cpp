// What goes wrong in a scenario, and when.

#include <iterator>

#include "actors/engine/cluster_scenario.h"

namespace troupe {
namespace {

constexpr int kUnknownPlan = 7;

constexpr const char* kTroubleNames[] = {"Nothing",      "Crash",       "Stop",        "StopAndWake", "Nap",
                                         "Cut",          "LinkCut",     "LinkSilent",  "LinkOneWay",  "KernelFails",
                                         "KernelThrows", "KernelHangs", "MessageLost", "PacketLost",  "ControlLost",
                                         "Repeat",       "Overtake",    "Late",        "CommandFails"};
constexpr const char* kPhaseNames[] = {
    "Join",   "Welcome",    "Load",  "Sources", "Write",      "Restart", "Go",     "Forward",  "Backward", "Collective",
    "Update", "Evaluation", "Pause", "Observe", "Checkpoint", "Stop",    "Unload", "Shutdown", "Dismiss"};
static_assert(std::size(kPhaseNames) == kPhases);
static_assert(std::size(kTroubleNames) == static_cast<int>(Trouble::kCommandFails) + 1);

// What the tasks of a phase are called.
std::string tasks_of(Phase phase) {
  if (phase == Phase::kForward) return "forward";
  if (phase == Phase::kBackward) return "backward";
  if (phase == Phase::kCollective) return "sum";
  if (phase == Phase::kUpdate) return "update";
  return phase == Phase::kEvaluation ? "evaluate" : "";
}

}  // namespace

std::string Cell::name() const {
  return std::string(kTroubleNames[static_cast<int>(trouble)]) + "During" + kPhaseNames[static_cast<int>(phase)] +
         (hosts ? "OverHosts" : "");
}

bool Cell::is_gone() const {
  return trouble == Trouble::kCrash || trouble == Trouble::kStop || trouble == Trouble::kStopAndWake ||
         trouble == Trouble::kCut;
}

bool Cell::is_link() const {
  return trouble == Trouble::kLinkCut || trouble == Trouble::kLinkSilent || trouble == Trouble::kLinkOneWay;
}

bool Cell::is_kernel() const {
  return trouble == Trouble::kKernelFails || trouble == Trouble::kKernelThrows || trouble == Trouble::kKernelHangs;
}

bool Cell::is_harmless() const {
  return trouble == Trouble::kNone || trouble == Trouble::kNap || trouble == Trouble::kRepeat ||
         trouble == Trouble::kOvertake || trouble == Trouble::kLate;
}

void Scenario::choose_victims() {
  Random& random = cluster_.random();
  victim_ = static_cast<int>(random.below(processes()));
  // Links between hosts: of two workers, or of the driver and one of another host.
  do {
    link_.first = static_cast<int>(random.below(processes() + 1)) - 1;
    link_.second = static_cast<int>(random.below(processes() + 1)) - 1;
  } while (link_.first == link_.second || link_.first + link_.second == ClusterSimulation::kDriver);
  skip_ = tasks_of(cell_.phase).empty() ? random.below(commands_before()) * processes() : random.below(12);
}

int64_t Scenario::commands_before() const {
  if (cell_.phase == Phase::kRestart || cell_.phase == Phase::kPause) return 5;
  if (cell_.phase == Phase::kGo) return 7;
  if (cell_.phase == Phase::kLoad) return 3;
  return cell_.phase == Phase::kObserve && cell_.trouble != Trouble::kCommandFails ? 2 : 1;
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

// For phases in which the driver does something that is no command.
void Scenario::enter(Phase phase) {
  if (cell_.trouble != Trouble::kNone && cell_.phase == phase && !happens_) soon();
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
  updates_ |= task.name.starts_with("update");
  const std::string tasks = tasks_of(cell_.phase);
  if (happens_ || tasks.empty() || !task.name.starts_with(tasks) || skip_-- > 0) return true;
  if (!cell_.is_kernel()) {
    soon();
    return true;
  }
  happens_ = true;
  happened_at_ = clock_.now();
  task_ = task.name;
  if (cell_.trouble == Trouble::kKernelHangs) return false;
  fail_kernel(task.key);
  return true;
}

void Scenario::soon() {
  happens_ = true;
  cluster_.events().at(clock_.now() + cluster_.random().uniform() * 0.02, 0, [this] { happen(); });
}

void Scenario::happen() {
  Random& random = cluster_.random();
  happened_at_ = clock_.now();
  const auto [a, b] = link_;
  const double some = random.uniform();
  switch (cell_.trouble) {
    case Trouble::kCrash:
      return cluster_.crash(victim_);
    case Trouble::kStop:
      return cluster_.silence(victim_, 1e6);
    case Trouble::kStopAndWake:
      return cluster_.silence(victim_, kHeartbeat * (1.5 + some));
    case Trouble::kNap:
      return cluster_.silence(victim_, kHeartbeat * 0.5 * some);
    case Trouble::kCut:
      return cluster_.cut(victim_);
    case Trouble::kLinkCut:
      return cluster_.cut_link(a, b);
    case Trouble::kLinkSilent:
      cluster_.mute_link(b, a);
      return cluster_.mute_link(a, b);
    case Trouble::kLinkOneWay:
      return cluster_.mute_link(a, b);
    case Trouble::kMessageLost:
      return cluster_.simulation().make(Mischief::lose);
    case Trouble::kPacketLost:
      loses_next_ = true;
      return;
    case Trouble::kControlLost:
      return some < 0.5 ? cluster_.lose_command(victim_) : cluster_.lose_reply(victim_);
    case Trouble::kRepeat:
      repeats_ = true;
      return cluster_.disturb({.repeat = some});
    case Trouble::kOvertake:
      return cluster_.disturb({.overtake = some});
    case Trouble::kLate:
      return cluster_.disturb({.late = some});
    default:
      return;
  }
}

// Of messages between hosts.
Fate Scenario::fate_of(size_t from, size_t to) {
  const auto is = [&](int process, size_t network) { return cluster_.network_of(process) == network; };
  if (loses_next_ && is(link_.first, from) && is(link_.second, to)) {
    loses_next_ = false;
    return Fate::vanish;
  }
  return repeats_ && cluster_.random().chance(0.3) ? Fate::repeat : Fate::arrive;
}

// So that it cannot be carried out: memory or files that are not there, a plan that nobody knows.
void Scenario::spoil(Command& command) {
  if (auto* welcome = std::get_if<Welcome>(&command)) welcome->doorbells.file = -1;
  if (auto* load = std::get_if<LoadPlan>(&command)) {
    ArenaFile* files[] = {&load->plan, &load->lanes, &load->blocks.front().file};
    files[cell_.hosts ? 0 : cluster_.random().below(std::ssize(files))]->file = -1;  // others lend nothing else
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
