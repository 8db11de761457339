#include "actors/engine/cluster_simulation.h"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <variant>

namespace troupe {
namespace {

constexpr double kStallPatience = 0.1;  // as the engine's: how long a report waits for kernels that run
constexpr double kNap = 0.1;            // until one that is stopped looks whether it may join
constexpr int64_t kMostEvents = 2'000'000;

// Labels of events, beside the process.
constexpr uint64_t kJoins = 10 << 16;
constexpr uint64_t kBeats = 11 << 16;
constexpr uint64_t kCommand = 12 << 16;
constexpr uint64_t kReply = 64 << 16;  // + the kind of command before it
constexpr uint64_t kClosed = 9 << 16;
constexpr uint64_t kChanged = 8 << 16;
constexpr uint64_t kThaws = 7 << 16;
constexpr uint64_t kLooks = 6 << 16;

template <class... T, class Variant>
bool is_one_of(const Variant& variant) {
  return (std::holds_alternative<T>(variant) || ...);
}

// Whether the thread that carries it out waits for kernels that run, and how long.
double patience_for_kernels(const Command& command) {
  if (is_one_of<Hold, LoadPlan, UnloadPlan, SetSources, Restart, Stop, SetObserved, GetObserved>(command)) return 1e9;
  return is_one_of<GetStall>(command) ? kStallPatience : 0;
}

}  // namespace

ClusterSimulation::ClusterSimulation(SimulatedClock& clock, const KernelTable& kernels, const ClusterOptions& options)
    : clock_(clock),
      kernels_(kernels),
      options_(options),
      random_(mix64(options.seed, 1)),
      simulation_(events_, {mix64(options.seed, 2), options.kernel_s, options.lane_s, options.late}) {
  simulation_.began = [this](const LoadedPlan& plan, const TaskActor& task) {
    if (!fires) return true;
    const int executor = plan.executor_of(plan.plan().task(task.id()).stream);
    for (size_t p = 0; p < processes_.size(); ++p) {
      Engine* engine = processes_[p]->worker.engine();
      if (engine != nullptr && engine->own().contains(executor)) return fires(static_cast<int>(p), plan, task);
    }
    return true;
  };
  simulation_.moved = [this](Engine& engine) {
    const int process = process_of(engine);
    if (!at(process).tasks.empty()) carry_out(process);
  };
}

int ClusterSimulation::process_of(const Engine& engine) const {
  const auto found = std::find_if(processes_.begin(), processes_.end(),
                                  [&](const auto& process) { return process->worker.engine() == &engine; });
  return static_cast<int>(found - processes_.begin());
}

int ClusterSimulation::process_of_worker(int worker) const {
  const auto found =
      std::find_if(processes_.begin(), processes_.end(), [&](const auto& process) { return process->index == worker; });
  return found == processes_.end() ? -1 : static_cast<int>(found - processes_.begin());
}

int ClusterSimulation::add_process(WorkerShare share, double joins_after_s, const std::function<void(Join&)>& show) {
  const auto number = static_cast<int>(processes_.size());
  processes_.push_back(std::make_unique<Process>(kernels_, clock_));
  Process& process = at(number);
  process.join.token = options_.token;
  process.join.host = "host" + std::to_string(number);
  process.join.process = 100 + number;
  process.join.share = share;
  if (show) show(process.join);
  process.worker.set_changed([this, number] {
    events_.at(events_.now(), kChanged + static_cast<uint64_t>(number), [this, number] {
      at(number).tasks.push_back({0, std::nullopt, events_.now()});
      carry_out(number);
    });
  });
  join(number, joins_after_s);
  return number;
}

void ClusterSimulation::join(int number, double after_s) {
  events_.at(events_.now() + after_s, kJoins + static_cast<uint64_t>(number), [this, number] {
    const Process& process = at(number);
    if (process.crashed) return;
    if (process.frozen) return join(number, kNap);
    say(number, process.join);
  });
}

// In the order of sending.
double ClusterSimulation::arrival(double& last) {
  return last = std::max(last, events_.now() + random_.uniform() * options_.control_s);
}

// ---- the driver's side ----

void ClusterSimulation::send(int worker, uint64_t request, const Command& command) {
  const int number = process_of_worker(worker);
  Command changed = command;
  if (sends) sends(number, changed);
  deliver(number, request, changed);
  Process& process = at(number);
  if (random_.chance(options_.repeat)) deliver(number, request, changed);
  if (!process.commands.empty() && random_.chance(options_.late)) {
    const auto& [old, late] = process.commands[static_cast<size_t>(random_.below(std::ssize(process.commands)))];
    deliver(number, old, late);
  }
  if (request != 0) process.commands.emplace_back(request, changed);
}

void ClusterSimulation::deliver(int number, uint64_t request, const Command& command) {
  Process& process = at(number);
  if (process.cut) return;
  const uint64_t label = kCommand + (command.index() << 16) + static_cast<uint64_t>(number);
  events_.at(arrival(process.last_to), label, [this, number, request, command] {
    at(number).tasks.push_back({request, command, events_.now()});
    carry_out(number);
  });
}

void ClusterSimulation::receive(Crew& crew, double at_most_s) {
  const double until = events_.now() + at_most_s;
  while (inbox_.empty() && !events_.empty() && events_.next() <= until) events_.step();
  if (inbox_.empty()) events_.run_until(until);
  if (events_.now() > options_.limit_s || events_.count() > kMostEvents) {
    throw std::logic_error("the driver waits for ever, after " + std::to_string(events_.count()) + " events");
  }
  while (!inbox_.empty()) {
    const Said said = std::move(inbox_.front());
    inbox_.pop_front();
    hear(crew, said);
  }
}

void ClusterSimulation::hear(Crew& crew, const Said& said) {
  Process& process = at(said.process);
  if (process.index >= 0) {
    if (!said.reply) return crew.lost(process.index);
    return crew.on(process.index, *said.reply, events_.now());
  }
  const auto* join = said.reply ? std::get_if<Join>(&*said.reply) : nullptr;
  if (join == nullptr) return;
  const auto result = crew.on(*join, events_.now());
  if (const auto* index = std::get_if<int>(&result)) {
    process.index = *index;
  } else {
    deliver(said.process, 0, Refused{std::get<std::string>(result)});
  }
}

// ---- the workers' side ----

void ClusterSimulation::say(int number, const std::optional<Reply>& reply) {
  say_once(number, reply);
  if (!reply) return;
  Process& process = at(number);
  if (random_.chance(options_.repeat)) say_once(number, reply);
  if (!process.replies.empty() && random_.chance(options_.late)) {
    say_once(number, process.replies[static_cast<size_t>(random_.below(std::ssize(process.replies)))]);
  }
  if (is_one_of<Answer, Reached, StallPart, ObservedPart>(*reply)) process.replies.push_back(*reply);
}

void ClusterSimulation::say_once(int number, const std::optional<Reply>& reply) {
  Process& process = at(number);
  if (process.cut) return;
  const uint64_t label = reply ? kReply + (reply->index() << 16) : kClosed;
  events_.at(arrival(process.last_from), label + static_cast<uint64_t>(number),
             [this, number, reply] { inbox_.push_back({number, reply}); });
}

// What has come, one after another, as a worker's thread does it.
void ClusterSimulation::carry_out(int number) {
  Process& process = at(number);
  while (!process.tasks.empty() && !process.frozen && !process.left) {
    const Task& first = process.tasks.front();
    Engine* engine = process.worker.engine();
    const double patience = first.command && engine != nullptr ? patience_for_kernels(*first.command) : 0;
    if (patience > 0 && simulation_.busy(*engine)) {
      simulation_.pause(*engine, true);
      const double left = first.came + patience - events_.now();
      if (left > 0) {
        if (patience < 1e9) {
          events_.at(first.came + patience, kLooks + static_cast<uint64_t>(number), [=, this] { carry_out(number); });
        }
        return;
      }
    }
    const Task task = std::move(process.tasks.front());
    process.tasks.pop_front();
    const std::vector<Reply> replies =
        task.command ? process.worker.on(task.request, *task.command) : process.worker.on_change();
    for (const Reply& reply : replies) say(number, reply);
    if (process.worker.over()) {
      if (const auto* refused = std::get_if<Refused>(&*task.command)) process.refused = refused->why;
      return leave(number);
    }
    engine = process.worker.engine();
    if (engine == nullptr) continue;
    if (!std::exchange(process.added, true)) {
      simulation_.add(*engine);
      process.beat_s = std::get<Welcome>(*task.command).beat_s;
      beat(number);
    }
    simulation_.pause(*engine, false);
    simulation_.look(*engine);
  }
}

void ClusterSimulation::leave(int number) {
  Process& process = at(number);
  process.left = true;
  if (process.added) simulation_.freeze(*process.worker.engine());
  say(number, std::nullopt);
}

void ClusterSimulation::beat(int number) {
  const Process& process = at(number);
  if (process.left || process.crashed) return;
  if (!process.frozen) say(number, process.worker.beat());
  events_.at(events_.now() + process.beat_s, kBeats + static_cast<uint64_t>(number), [this, number] { beat(number); });
}

// ---- what can go wrong ----

void ClusterSimulation::crash(int number) {
  Process& process = at(number);
  if (process.left || process.crashed) return;
  process.crashed = process.frozen = true;
  if (process.added) simulation_.freeze(*process.worker.engine());
  say(number, std::nullopt);
}

void ClusterSimulation::silence(int number, double s) {
  Process& process = at(number);
  if (process.left || process.frozen) return;
  process.frozen = true;
  if (process.added) simulation_.freeze(*process.worker.engine());
  events_.at(events_.now() + s, kThaws + static_cast<uint64_t>(number), [this, number] {
    Process& awake = at(number);
    awake.frozen = false;
    if (awake.added) simulation_.thaw(*awake.worker.engine());
    carry_out(number);
  });
}

void ClusterSimulation::cut(int number) {
  Process& process = at(number);
  process.cut = true;
  if (process.added) simulation_.cut(*process.worker.engine());
}

}  // namespace troupe
