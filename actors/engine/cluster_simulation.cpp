#include "actors/engine/cluster_simulation.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>
#include <variant>

namespace troupe {
namespace {

constexpr double kNap = 0.1;      // until one that is stopped looks whether it may join
constexpr double kLinkNap = 0.1;  // between looks at links, as an exchange's thread does it
constexpr double kLate = 10;      // times as long as others, messages that are overtaken
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
constexpr uint64_t kProgress = 5 << 16;
constexpr uint64_t kLinks = 4 << 16;

template <class... T, class Variant>
bool is_one_of(const Variant& variant) {
  return (std::holds_alternative<T>(variant) || ...);
}

// For kernels that run, of the thread that carries it out.
double patience_of(const Command& command) {
  if (is_one_of<Hold, LoadPlan, UnloadPlan, SetSources, Restart, Stop, SetObserved, GetObserved>(command)) return 1e9;
  return is_one_of<GetStall>(command) ? kStandingsPatience : 0;
}

}  // namespace

ClusterSimulation::ClusterSimulation(SimulatedClock& clock, const KernelTable& kernels, const ClusterOptions& options)
    : clock_(clock),
      kernels_(kernels),
      options_(options),
      random_(mix64(options.seed, 1)),
      simulation_(events_, {mix64(options.seed, 2), options.kernel_s, options.lane_s, options.lane_late}),
      networks_(mix64(options.seed, 3), options.network_s, clock, [this](size_t network, double when) {
        events_.at(when, kProgress + network, [this, network] { progress(network); });
      }) {
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
    progress_soon(at(process));
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
  processes_.push_back(std::make_unique<Process>(kernels_, clock_, [this, number] {
    at(number).network = static_cast<int>(networks_.count());
    return networks_.make();
  }));
  Process& process = at(number);
  process.join.token = options_.token;
  process.join.host = "host" + std::to_string(number);
  process.join.process = 100 + number;
  process.join.share = share;
  if (show) show(process.join);
  process.worker.set_changed([this, number] {
    events_.at(events_.now(), kChanged + static_cast<uint64_t>(number), [this, number] {
      at(number).tasks.push_back({std::nullopt, events_.now()});
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
    say(number, Said{0, process.join});
  });
}

// In the order of sending, mostly.
double ClusterSimulation::arrival(double& last) {
  if (random_.chance(disturbance_.overtake)) return events_.now() + random_.uniform() * kLate * options_.control_s;
  return last = std::max(last, events_.now() + random_.uniform() * options_.control_s);
}

// ---- the driver's side ----

void ClusterSimulation::send(int worker, const Order& order) {
  const int number = process_of_worker(worker);
  Order changed = order;
  if (sends) sends(number, changed.command);
  deliver(number, changed);
}

void ClusterSimulation::deliver(int number, const Order& order) {
  Process& process = at(number);
  if (std::exchange(process.lose_to, false)) return;
  deliver_once(number, order);
  if (random_.chance(disturbance_.repeat)) deliver_once(number, order);
  if (!process.orders.empty() && random_.chance(disturbance_.late)) {
    deliver_once(number, process.orders[static_cast<size_t>(random_.below(std::ssize(process.orders)))]);
  }
  process.orders.push_back(order);
}

void ClusterSimulation::deliver_once(int number, const Order& order) {
  Process& process = at(number);
  if (process.cut) return;
  const uint64_t label = kCommand + (order.command.index() << 16) + static_cast<uint64_t>(number);
  events_.at(arrival(process.last_to), label, [this, number, order] {
    at(number).tasks.push_back({order, events_.now()});
    carry_out(number);
  });
}

void ClusterSimulation::check_limit() const {
  if (events_.now() <= options_.limit_s && events_.count() <= kMostEvents) return;
  throw std::logic_error("the driver waits for ever, after " + std::to_string(events_.count()) + " events");
}

void ClusterSimulation::receive(Crew& crew, double at_most_s) {
  const double until = events_.now() + at_most_s;
  while (inbox_.empty() && !events_.empty() && events_.next() <= until) events_.step();
  if (inbox_.empty()) events_.run_until(until);
  check_limit();
  while (!inbox_.empty()) {
    const Heard heard = std::move(inbox_.front());
    inbox_.pop_front();
    hear(crew, heard);
  }
}

void ClusterSimulation::hear(Crew& crew, const Heard& heard) {
  Process& process = at(heard.process);
  if (process.index >= 0) {
    if (!heard.said) return crew.lost(process.index);
    return crew.on(process.index, *heard.said, events_.now());
  }
  const auto* join = heard.said ? std::get_if<Join>(&heard.said->reply) : nullptr;
  if (join == nullptr) return;
  const auto result = crew.on(*join, events_.now());
  if (const auto* index = std::get_if<int>(&result)) {
    process.index = *index;
  } else {
    deliver(heard.process, {1, 0, Refused{std::get<std::string>(result)}});
  }
}

// ---- the workers' side ----

void ClusterSimulation::say(int number, const std::optional<Said>& said) {
  Process& process = at(number);
  if (said && std::exchange(process.lose_from, false)) return;
  say_once(number, said);
  if (!said) return;
  if (random_.chance(disturbance_.repeat)) say_once(number, said);
  if (!process.replies.empty() && random_.chance(disturbance_.late)) {
    say_once(number, process.replies[static_cast<size_t>(random_.below(std::ssize(process.replies)))]);
  }
  if (is_one_of<Answer, Reached, StallPart, ObservedPart>(said->reply)) process.replies.push_back(*said);
}

void ClusterSimulation::say_once(int number, const std::optional<Said>& said) {
  Process& process = at(number);
  if (process.cut) return;
  const uint64_t label = said ? kReply + (said->reply.index() << 16) : kClosed;
  events_.at(arrival(process.last_from), label + static_cast<uint64_t>(number),
             [this, number, said] { inbox_.push_back({number, said}); });
}

// How long the thread that carries out what has come waits for kernels that run, at most.
double ClusterSimulation::patience_for_kernels(const Process& process, const Task& task) const {
  double most = task.order ? patience_of(task.order->command) : 0;
  for (const Command* waiting : process.worker.waiting()) most = std::max(most, patience_of(*waiting));
  return most;
}

// What has come, one after another, as a worker's thread does it.
void ClusterSimulation::carry_out(int number) {
  Process& process = at(number);
  while (!process.tasks.empty() && !process.frozen && !process.left) {
    const Task& first = process.tasks.front();
    Engine* engine = process.worker.engine();
    const double patience = engine != nullptr ? patience_for_kernels(process, first) : 0;
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
    const std::vector<Said> replies = task.order ? process.worker.on(*task.order) : process.worker.on_change();
    for (const Said& said : replies) say(number, said);
    if (process.worker.over()) return leave(number);
    engine = process.worker.engine();
    if (engine == nullptr) continue;
    if (!std::exchange(process.added, true)) {
      simulation_.add(*engine);
      beat(number);
      if (process.network >= 0) look_at_links(static_cast<size_t>(process.network));
    }
    simulation_.pause(*engine, false);
    simulation_.look(*engine);
    progress_soon(process);
  }
}

void ClusterSimulation::leave(int number) {
  Process& process = at(number);
  process.left = true;
  if (process.added) simulation_.freeze(*process.worker.engine());
  if (process.network >= 0) networks_.fail(static_cast<size_t>(process.network));
  say(number, std::nullopt);
}

void ClusterSimulation::beat(int number) {
  Process& process = at(number);
  if (process.left || process.crashed) return;
  if (!process.frozen) say(number, process.worker.beat());
  events_.at(events_.now() + process.worker.beat_s(), kBeats + static_cast<uint64_t>(number),
             [this, number] { beat(number); });
}

// ---- exchanges ----

std::unique_ptr<Network> ClusterSimulation::make_network() {
  driver_network_ = networks_.count();
  return networks_.make();
}

std::shared_ptr<void> ClusterSimulation::serve(Exchange& exchange) {
  driver_exchange_ = &exchange;
  look_at_links(driver_network_);
  return {&exchange, [this](void*) { driver_exchange_ = nullptr; }};
}

bool ClusterSimulation::done(const Exchange& exchange, const ExchangeJob& job, double at_most_s) {
  const double until = events_.now() + at_most_s;
  while (!exchange.done(job) && !events_.empty() && events_.next() <= until) events_.step();
  if (!exchange.done(job)) events_.run_until(until);
  check_limit();
  return exchange.done(job);
}

size_t ClusterSimulation::network_of(int process) const {
  return process == kDriver ? driver_network_ : static_cast<size_t>(at(process).network);
}

void ClusterSimulation::progress(size_t network) {
  if (driver_exchange_ != nullptr && network == driver_network_) {
    driver_exchange_->progress();
    return;
  }
  for (const auto& process : processes_) {
    Engine* engine = process->worker.engine();
    if (process->network != static_cast<int>(network) || engine == nullptr) continue;
    if (process->frozen || process->left) return;
    engine->exchange()->progress();
    if (process->added) simulation_.look(*engine);
  }
}

// Its executors may have sent something away, its worker have asked for something.
void ClusterSimulation::progress_soon(const Process& process) {
  if (process.network < 0 || process.left) return;
  const auto network = static_cast<size_t>(process.network);
  events_.at(events_.now(), kProgress + network, [this, network] { progress(network); });
}

void ClusterSimulation::look_at_links(size_t network) {
  progress(network);
  events_.at(events_.now() + kLinkNap, kLinks + network, [this, network] { look_at_links(network); });
}

// ---- what can go wrong ----

void ClusterSimulation::crash(int number) {
  Process& process = at(number);
  if (process.left || process.crashed) return;
  process.crashed = process.frozen = true;
  if (process.added) simulation_.freeze(*process.worker.engine());
  if (process.network >= 0) networks_.fail(static_cast<size_t>(process.network));
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
  if (process.network >= 0) networks_.fail(static_cast<size_t>(process.network), true);
}

void ClusterSimulation::cut_link(int a, int b) { networks_.cut(network_of(a), network_of(b)); }

void ClusterSimulation::mute_link(int from, int to) { networks_.mute(network_of(from), network_of(to)); }

}  // namespace troupe
