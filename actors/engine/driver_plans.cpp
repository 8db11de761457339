// What a driver has its workers load and unload.

#include <algorithm>
#include <cstring>
#include <utility>

#include "actors/engine/driver.h"
#include "actors/engine/placement.h"
#include "runtime/base/text.h"
#include "runtime/plan/validate.h"
#include "runtime/plan/write.h"

namespace troupe {
namespace {

Arena shared_copy(std::span<const std::byte> bytes) {
  Arena arena = Arena::shared(static_cast<int64_t>(bytes.size()));
  std::memcpy(arena.data(), bytes.data(), bytes.size());
  return arena;
}

int64_t arena_bytes(const Plan& plan) {
  int64_t bytes = 0;
  for (const PlanDevice& device : plan.devices) {
    for (int64_t each : device.arena_bytes) bytes += each;
  }
  return bytes;
}

}  // namespace

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
  check_up();
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
    const bool moved = add_memory(plans_.back()->life);
    const ArenaFile lanes_file = (grown ? lane_memory : lane_memory_).file();
    const LoadPlan command{handle.value, bytes.file(), memory_.blocks(*plan, handle.value), lanes_file};
    try {
      ask(command, crew_.size() * bytes.bytes() + arena_bytes(*plan));
    } catch (const std::exception& error) {
      // Where all refuse it, none has begun: they have what they had, and so has the driver unless variables have moved.
      const bool in_step = crew_.refused_by_all() && (!moved || is_only(handle));
      if (!in_step) end_run("plan '" + plan->name + "' could not be loaded by all workers", error);
      throw;
    }
    lanes_ = lanes;
    if (grown) lane_memory_ = std::move(lane_memory);
    if (!was_held) resume();
  } catch (...) {
    const bool only = is_only(handle);
    forget(handle);  // its number is not used again
    if (only) memory_.clear();
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

// True when variables have moved.
bool Driver::add_memory(const PlanLife& life) {
  const auto lock = exchange_ ? std::unique_lock(exchange_->mutex()) : std::unique_lock<std::mutex>();
  const bool grown = memory_.add(life.plan(), life.handle().value);
  if (exchange_ == nullptr) return grown;
  exchange_->add(life, nullptr, memory_, {});
  if (grown) begin_afresh();  // what was read of other hosts' variables has not moved along
  return grown;
}

// Whether no other plan is loaded.
bool Driver::is_only(PlanHandle handle) const {
  for (size_t p = 0; p < plans_.size(); ++p) {
    if (plans_[p] != nullptr && p != handle.index()) return false;
  }
  return true;
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
  const std::string name = find(handle).life.plan().name;
  check_not_running("unload a plan");
  check_up();
  const bool was_held = held_;
  hold();
  ask_or_end(UnloadPlan{handle.value}, 0, "plan '" + name + "' could not be unloaded by all workers");
  if (!was_held) resume();
  forget(handle);
  const bool none = std::all_of(plans_.begin(), plans_.end(), [](const auto& plan) { return plan == nullptr; });
  if (none) memory_.clear();
}

void Driver::set_sources(PlanHandle handle, SourceMap sources) {
  Loaded& loaded = find(handle);
  check_not_running("change sources");
  check_up();
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

// At most so many are under way between processes.
int64_t Driver::bytes_of_plans() const {
  int64_t bytes = 0;
  for (const auto& plan : plans_) {
    if (plan == nullptr) continue;
    for (const PlanRegister& reg : plan->life.plan().registers) bytes += reg.bytes * std::ssize(reg.slots);
  }
  return bytes;
}

}  // namespace troupe
