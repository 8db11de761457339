#include "actors/engine/driver.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "actors/engine/doorbell.h"
#include "actors/engine/placement.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"
#include "runtime/plan/validate.h"
#include "runtime/plan/write.h"

namespace troupe {
namespace {

constexpr double kFarewellPatience = 2;  // seconds for workers to leave
constexpr double kGonePatience = 0.3;    // for the connection of a process to close that others do not reach any more

bool writes_variables(const Plan& plan) {
  return std::any_of(plan.registers.begin(), plan.registers.end(),
                     [](const PlanRegister& reg) { return reg.arena == ArenaKind::variables && reg.producer.valid(); });
}

Arena shared_copy(std::span<const std::byte> bytes) {
  Arena arena = Arena::shared(static_cast<int64_t>(bytes.size()));
  std::memcpy(arena.data(), bytes.data(), bytes.size());
  return arena;
}

}  // namespace

Driver::Driver(Courier& courier, CrewOptions options, const Clock& clock)
    : courier_(courier), clock_(clock), crew_(std::move(options)) {}

Driver::~Driver() { exchange_thread_.reset(); }  // before what it reads

Driver::Loaded& Driver::find(PlanHandle handle) const {
  const bool known = handle.valid() && handle.index() < plans_.size() && plans_[handle.index()] != nullptr;
  if (!known) throw PlanError("plan " + std::to_string(handle.value) + " is not loaded");
  return *plans_[handle.index()];
}

void Driver::check_not_running(const char* what) const {
  if (running_) throw PlanError("cannot " + std::string(what) + " while a plan runs");
}

void Driver::tell(uint64_t request, const Command& command) {
  for (size_t w = 0; w < crew_.members().size(); ++w) {  // fewer than wanted when it ends before all have joined
    if (!crew_.members()[w].gone) courier_.send(static_cast<int>(w), request, command);
  }
}

void Driver::look(double at_most_s) {
  courier_.receive(crew_, at_most_s);
  crew_.tick(clock_.now());
}

// Sends to all and waits until all have answered. A member that goes meanwhile ends it.
void Driver::ask(const Command& command) {
  tell(crew_.ask(), command);
  wait_until_settled();
}

void Driver::wait_until_settled() {
  const double began = clock_.now();
  while (!crew_.settled() && !crew_.gone()) {
    look(kLook);
    if (crew_.settled() || clock_.now() - began < kCommandPatience) continue;
    Fault fault;
    fault.what = "no answer from " + crew_.owing();
    fault.deadline = kCommandPatience;
    raise(std::move(fault));
  }
  if (crew_.gone()) raise(*crew_.gone());
  if (const std::optional<Answer> failure = crew_.failure()) {
    if (failure->outcome == Answer::Outcome::user_error) throw PlanError(failure->fault.what);
    raise(failure->fault);
  }
}

void Driver::raise(Fault fault) {
  running_ = false;
  throw FaultError(std::move(fault));
}

// From here on no task fires, in no process.
void Driver::hold() {
  if (!held_) ask(Hold{});
  held_ = true;
  if (exchange_ == nullptr || fenced_) return;
  ask(Fence{++fences_});
  fenced_ = true;
}

void Driver::resume() {
  if (!std::exchange(held_, false)) return;
  fenced_ = false;
  tell(0, Resume{});
}

void Driver::check_devices(const Plan& plan) const {
  std::vector<std::string> devices;  // those that compute: a host arena belongs to one of them
  for (const PlanDevice& device : plan.devices) {
    if (!device.name.starts_with("host")) devices.push_back(device.name);
  }
  for (const PlanDevice& device : plan.devices) {
    if (executor_of_device(device.name, crew_.shares()) >= 0) continue;
    throw PlanError("plan", plan.name,
                    "runs on " + std::to_string(devices.size()) + " devices, " + devices.front() + " to " +
                        devices.back() + "; the run's workers offer " + std::to_string(crew_.devices()) + " (" +
                        join(crew_.shares(), " + ", [](const auto& share) { return std::to_string(share.devices); }) +
                        "); start more workers, or give each more devices",
                    {});
  }
}

PlanHandle Driver::load(std::shared_ptr<const Plan> plan, SourceMap sources) {
  check_not_running("load a plan");
  if (broken_) raise(*broken_);
  validate(*plan, "plan '" + plan->name + "'");
  check_devices(*plan);
  const PlanHandle handle(static_cast<int64_t>(plans_.size()));
  if (handle.value > UINT16_MAX) throw PlanError("more than 65536 plans in one run over workers");
  const auto at = [&](const Plan& of, StreamId stream) {
    return executor_of_device(of.devices[of.streams[stream.index()].device.index()].name, crew_.shares());
  };
  const std::vector<int> executor_of = place_streams(*plan, lanes_.executors(), at);
  plans_.push_back(std::make_unique<Loaded>(
      Loaded{PlanLife(plan, handle), messages_under_way(*plan, Ports(*plan), executor_of), {}}));
  try {
    LaneTable lanes = lanes_;
    const bool grown = lanes.grow([&](int from, int to) { return messages(from, to); });
    Arena lane_memory = grown ? Arena::shared(static_cast<int64_t>(lanes.bytes())) : Arena();
    const Arena bytes = shared_copy(serialize(*plan));
    const bool was_held = held_;
    hold();  // before variables move to an arena that has grown: sources run ahead
    add_memory(plans_.back()->life);
    const ArenaFile lanes_file = (grown ? lane_memory : lane_memory_).file();
    load_everywhere({handle.value, bytes.file(), memory_.blocks(*plan, handle.value), lanes_file}, plan->name);
    lanes_ = lanes;
    if (grown) lane_memory_ = std::move(lane_memory);
    if (!was_held) resume();
  } catch (...) {
    forget(handle);  // its number is not used again
    throw;
  }
  if (sources.empty()) return handle;
  try {
    set_sources(handle, std::move(sources));
  } catch (...) {
    try {
      unload(handle);
    } catch (const std::exception&) {
      forget(handle);  // the workers are past it too
    }
    throw;
  }
  return handle;
}

void Driver::add_memory(const PlanLife& life) {
  const auto lock = exchange_ ? std::unique_lock(exchange_->mutex()) : std::unique_lock<std::mutex>();
  const bool grown = memory_.add(life.plan(), life.handle().value);
  if (exchange_ == nullptr) return;
  exchange_->add(life, nullptr, memory_, {});
  if (grown) begin_afresh();  // what was read of other hosts' variables has not moved along
}

void Driver::forget(PlanHandle handle) {
  const auto lock = exchange_ ? std::unique_lock(exchange_->mutex()) : std::unique_lock<std::mutex>();
  if (exchange_ != nullptr) exchange_->remove(handle);
  plans_[handle.index()] = nullptr;
  memory_.remove(handle.value);
}

void Driver::begin_afresh() {
  for (const auto& plan : plans_) {
    if (plan != nullptr) plan->life.fresh = true;
  }
}

// When it fails, some workers may have what others have not: then nothing can run any more.
void Driver::load_everywhere(const LoadPlan& command, const std::string& name) {
  try {
    ask(command);
  } catch (const std::exception& error) {
    broken_ = Fault();
    broken_->what = "plan '" + name + "' could not be loaded by all workers: " + error.what();
    throw;
  }
}

int64_t Driver::messages(int from, int to) const {
  int64_t sum = 0;
  for (const auto& plan : plans_) {
    if (plan == nullptr) continue;
    const auto it = plan->under_way.find({from, to});
    if (it != plan->under_way.end()) sum += it->second;
  }
  return sum;
}

void Driver::unload(PlanHandle handle) {
  find(handle);
  check_not_running("unload a plan");
  const bool was_held = held_;
  hold();
  ask(UnloadPlan{handle.value});
  if (!was_held) resume();
  forget(handle);
  const bool none = std::all_of(plans_.begin(), plans_.end(), [](const auto& plan) { return plan == nullptr; });
  if (none) memory_.clear();
}

void Driver::set_sources(PlanHandle handle, SourceMap sources) {
  Loaded& loaded = find(handle);
  check_not_running("change sources");
  SetSources command{handle.value, {}};
  for (const auto& [name, source] : sources) command.sources.push_back(feeds_.spec_of(name, *source));
  const bool was_held = held_;
  hold();
  loaded.life.fresh = true;  // also when only some can read them
  loaded.divided = Fault();
  loaded.divided->what = "the sources of plan '" + loaded.life.plan().name + "' were not changed by all workers";
  ask(command);
  loaded.divided.reset();
  if (!was_held) resume();
  loaded.sources = std::move(sources);
}

void Driver::hand_over() {
  for (const Command& command : feeds_.news()) tell(0, command);
}

void Driver::start(PlanHandle handle, int64_t first_step, int64_t steps) {
  Loaded& loaded = find(handle);
  PlanLife& life = loaded.life;
  check_not_running("start a plan");
  CHECK(steps >= 0 && first_step >= 0, first_step, steps);
  if (crew_.gone()) raise(*crew_.gone());
  if (broken_) raise(*broken_);
  if (loaded.divided) raise(*loaded.divided);
  hand_over();
  if (life.fresh || life.next_step != first_step) {
    hold();
    life.fresh = true;  // also when only some have begun it
    ask(Restart{handle.value, ++epoch_, first_step});
    life.begin(epoch_, first_step);
  }
  crew_.forgive();
  resume();
  life.next_step = first_step + steps;
  if (exchange_ != nullptr && writes_variables(life.plan())) {
    // What other plans have read of variables on other hosts is read again when they begin.
    for (const auto& plan : plans_) {
      if (plan != nullptr && &plan->life != &life) plan->life.fresh = true;
    }
  }
  crew_.go(life.epoch, life.next_step);
  running_ = true;
  current_ = handle;
  seen_firings_ = crew_.firings();
  began_at_ = seen_at_ = clock_.now();
  tell(0, Go{handle.value, life.next_step});
}

bool Driver::wait_for(double at_most_s, double patience_s) {
  if (!running_) return true;
  const double until = clock_.now() + at_most_s;
  for (;;) {
    look(std::clamp(until - clock_.now(), 0.0, kLook));
    if (crew_.fault() && crew_.fault()->task.empty() && exchange_ != nullptr) wait_for_the_gone();
    if (const std::optional<Fault> fault = crew_.fault()) {
      Fault named = *fault;
      if (crew_.gone()) name_who_waits(named);
      stop_and_raise(std::move(named));
    }
    if (crew_.reached()) {
      running_ = false;
      return true;
    }
    if (const uint64_t fired = crew_.firings(); fired != seen_firings_) {
      seen_firings_ = fired;
      seen_at_ = clock_.now();
    } else if (clock_.now() - seen_at_ >= patience_s) {
      Fault fault = stall();
      fault.deadline = patience_s;
      stop_and_raise(std::move(fault));
    }
    if (clock_.now() >= until) return false;
  }
}

// A host that is gone is missed by the others first: it is the one to name.
void Driver::wait_for_the_gone() {
  for (const double until = clock_.now() + kGonePatience; !crew_.gone() && clock_.now() < until;) look(kLook);
}

void Driver::stop() {
  running_ = false;
  begin_afresh();            // also when not all can be stopped
  if (crew_.gone()) return;  // the rest has nobody to go on with
  hold();
  ask(Stop{});
}

// A worker that cannot be stopped either, such as one whose kernel never ends, does not hide what was wrong first.
void Driver::stop_and_raise(Fault fault) {
  try {
    stop();
  } catch (const std::runtime_error& error) {
    fault.what += "; then " + std::string(error.what());
  }
  raise(std::move(fault));
}

void Driver::shutdown() {
  try {
    const bool loaded = std::any_of(plans_.begin(), plans_.end(), [](const auto& plan) { return plan != nullptr; });
    if (loaded && !crew_.gone() && !dismissed_) stop();  // whatever a wait that failed has left
    for (size_t p = 0; p < plans_.size(); ++p) {
      if (plans_[p] != nullptr && !crew_.gone() && !dismissed_) unload(PlanHandle(static_cast<int64_t>(p)));
    }
  } catch (const std::exception&) {
    // A worker that goes while everything ends takes nothing along that is still needed.
  }
  running_ = false;
  if (exchange_ != nullptr && crew_.gone()) exchange_->disconnect();  // nothing else ends what is under way
  for (size_t p = 0; p < plans_.size(); ++p) {
    if (plans_[p] != nullptr) forget(PlanHandle(static_cast<int64_t>(p)));
  }
  memory_.clear();
  if (!dismissed_) hand_over();  // which drops the feeds that are gone
}

void Driver::dismiss() {
  tell(0, Leave{});
  dismissed_ = true;
  for (const double until = clock_.now() + kFarewellPatience; !crew_.all_gone() && clock_.now() < until;) {
    courier_.receive(crew_, kLook);
  }
}

void Driver::write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from) {
  check_not_running("write a variable");
  if (exchange_ != nullptr) begin_afresh();  // so that hosts read again what they have of others' variables
  registers(handle).write(variable, from);
}

}  // namespace troupe
