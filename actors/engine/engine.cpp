#include "actors/engine/engine.h"

#include <algorithm>
#include <utility>

#include "actors/engine/agreement.h"
#include "actors/engine/engine_pause.h"
#include "runtime/base/check.h"
#include "runtime/plan/validate.h"

namespace troupe {
namespace {

// How often a waiting driver looks whether anything moves, in parts of its patience.
constexpr double kLooksPerPatience = 8;

}  // namespace

Engine::Engine(const KernelTable& kernels, EngineOptions options, const Clock& clock)
    : kernels_(kernels),
      options_(std::move(options)),
      clock_(clock),
      own_(options_.own.value_or(ExecutorRange{0, options_.executors})),
      own_doorbells_(options_.doorbells == nullptr ? static_cast<size_t>(options_.executors) : 0),
      doorbells_(options_.doorbells == nullptr ? own_doorbells_.data() : options_.doorbells),
      memory_(Memory::Kind::own, nullptr, options_.backend),
      lanes_(options_.executors) {
  CHECK(own_.count > 0 && own_.first >= 0 && own_.first + own_.count <= options_.executors, own_.first, own_.count);
  std::vector<Doorbell*> doorbells;
  for (int i = 0; i < options_.executors; ++i) {
    const bool far = options_.exchange != nullptr && options_.exchange->is_far(i);
    doorbells.push_back(far ? &options_.exchange->bell() : &doorbells_[i]);
  }
  if (options_.backend != nullptr) {
    queues_ = std::make_unique<DeviceQueues>(*options_.backend);
    options_.queue_of = [this](const Plan& plan, StreamId stream) { return queues_->find(plan, stream); };
  }
  if (options_.exchange != nullptr) {
    const int self = options_.exchange->self();
    memory_ = Memory(Memory::Kind::own, [this, self](const std::string& d) { return options_.process_of(d) != self; });
  }
  for (int i = own_.first; i < own_.first + own_.count; ++i) {
    executors_.push_back(std::make_unique<Executor>(i, shared_, clock_, options_.spin_s, doorbells, options_.exchange));
  }
  shared_.changed = options_.changed;
  connect();
}

// Queues may ring for as long as they are there.
Engine::~Engine() { queues_.reset(); }

void Engine::set_bell(std::function<void(int)> bell) {
  const Pause pause(*this);
  const std::lock_guard lock(shared_.bell_mutex);
  shared_.bell = std::move(bell);
}

LoadedPlan& Engine::find(PlanHandle handle) const {
  const bool known = handle.valid() && handle.index() < plans_.size() && plans_[handle.index()] != nullptr;
  if (!known) throw PlanError("plan " + std::to_string(handle.value) + " is not loaded");
  return *plans_[handle.index()];
}

const LoadedPlan& Engine::loaded(PlanHandle handle) const { return find(handle); }
const Plan& Engine::plan(PlanHandle handle) const { return find(handle).plan(); }

void Engine::check_not_running(const char* what) const {
  if (running()) throw PlanError("cannot " + std::string(what) + " while plan '" + current_->plan().name + "' runs");
}

PlanHandle Engine::load(std::shared_ptr<const Plan> plan, SourceMap sources, const Lent* lent, PlanHandle handle) {
  check_not_running("load a plan");
  CHECK(plan != nullptr);
  validate(*plan, "plan '" + plan->name + "'");
  for (const PlanVariable& variable : plan->variables) {
    for (const PlanPart& part : variable.parts) {
      if (plan->reg(part.reg).slot_count == 1) continue;
      throw PlanError("plan", plan->name, "variable '" + variable.name + "' has several slots; it must have one", {});
    }
  }
  Arena lanes;  // opened before anything changes
  if (lent != nullptr && lent->lanes.bytes > 0) lanes = Arena::open(lent->lanes);
  const Pause pause(*this);
  if (!handle.valid()) handle = PlanHandle(static_cast<int64_t>(plans_.size()));
  CHECK(handle.index() >= plans_.size() && handle.value <= UINT16_MAX, "plans are numbered in the order of loading",
        handle, plans_.size());
  const std::vector<int> executor_of = place_streams(*plan, options_.executors, options_.place);
  auto made = std::make_unique<LoadedPlan>(plan, handle, kernels_, own_, executor_of, options_.queue_of);
  plans_.resize(handle.index());  // a number that another process could not load is never used
  plans_.push_back(std::move(made));
  try {
    for (size_t other = 0; other + 1 < plans_.size(); ++other) {
      if (plans_[other] != nullptr) check_agree(*plans_.back(), *plans_[other]);
    }
    plans_.back()->set_sources(std::move(sources));
    Crossings crossings;
    if (options_.exchange != nullptr) {
      const auto process_of = [&](DeviceId device) { return options_.process_of(plan->devices[device.index()].name); };
      crossings = Crossings(*plan, kernels_, process_of);
    }
    const auto lock = lock_exchange();
    const Exchange::MemoryChange change(options_.exchange);
    if (lent != nullptr) {
      for (const Memory::Block& block : lent->blocks) memory_.put(block);
    }
    memory_.add(*plan, handle.value);
    if (options_.backend != nullptr) plans_.back()->set_report(options_.backend->allocate_pinned(sizeof(KernelReport)));
    if (options_.exchange != nullptr) {
      options_.exchange->add(*plans_.back(), plans_.back().get(), memory_, std::move(crossings));
    }
  } catch (...) {
    plans_.pop_back();
    throw;
  }
  bind_all();
  connect(std::move(lanes));
  return handle;
}

void Engine::unload(PlanHandle handle) {
  find(handle);
  check_not_running("unload a plan");
  const Pause pause(*this);
  if (queues_ != nullptr) queues_->forget();
  if (current_ == plans_[handle.index()].get()) current_ = nullptr;
  const std::unique_ptr<LoadedPlan> dropped = std::move(plans_[handle.index()]);
  connect();
  const auto lock = lock_exchange();
  const Exchange::MemoryChange change(options_.exchange);
  if (options_.exchange != nullptr) options_.exchange->remove(handle);
  memory_.remove(handle.value);
  const bool none = std::all_of(plans_.begin(), plans_.end(), [](const auto& plan) { return plan == nullptr; });
  if (none) memory_.clear();
}

// While it is held, nothing moves between this process and others.
std::unique_lock<std::mutex> Engine::lock_exchange() const {
  if (options_.exchange == nullptr) return {};
  std::unique_lock lock(options_.exchange->mutex());
  options_.exchange->drain();
  return lock;
}

// Executors learn which plans there are. Nothing is under way: a pause has seen to that.
void Engine::connect(Arena lanes) {
  const bool grown = lanes_.grow([&](int from, int to) {
    int64_t messages = 0;
    for (const auto& plan : plans_) {
      if (plan == nullptr) continue;
      const auto it = plan->under_way().find({from, to});
      if (it != plan->under_way().end()) messages += it->second;
    }
    return messages;
  });
  const auto lock = lock_exchange();
  const auto bytes = static_cast<int64_t>(lanes_.bytes());
  if (lanes.bytes() > 0) {
    lane_memory_ = std::move(lanes);
  } else if (grown) {
    CHECK(own_.count == options_.executors || options_.exchange != nullptr, "lanes of several processes have grown");
    lane_memory_ = Arena(bytes);
  }
  CHECK(lane_memory_.bytes() == bytes, lane_memory_.bytes(), bytes);
  lanes_.place(lane_memory_.data());
  if (options_.exchange != nullptr) options_.exchange->set_lanes(lanes_, own_, doorbells_);
  for (const auto& each : executors_) {
    const int e = own_.first + static_cast<int>(&each - executors_.data());
    std::vector<Lane> incoming;
    std::vector<Lane> outgoing;
    for (int other = 0; other < options_.executors; ++other) {
      incoming.push_back(lanes_.lane(other, e));
      outgoing.push_back(lanes_.lane(e, other));
    }
    std::vector<Share*> shares;
    for (const auto& plan : plans_) shares.push_back(plan ? &plan->share(e) : nullptr);
    each->set_lanes(incoming, outgoing);
    each->set_shares(std::move(shares));
  }
}

void Engine::bind_all() {
  for (const auto& loaded : plans_) {
    if (loaded == nullptr) continue;
    const Plan& plan = loaded->plan();
    const Registers registers(memory_, *loaded);
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      const TaskId id(static_cast<int64_t>(t));
      if (!loaded->is_own(id)) continue;
      const PlanTask& task = plan.tasks[t];
      const std::string& device = plan.devices[task.device.index()].name;
      std::byte* workspace = memory_.base(device, ArenaKind::workspace, loaded->handle().value);
      std::span<std::byte> scratch;
      if (task.scratch_bytes > 0) scratch = {workspace + task.scratch_offset, static_cast<size_t>(task.scratch_bytes)};
      loaded->actor(id).bind([&](RegisterId reg, size_t slot) { return registers.bytes(reg, slot).data(); }, scratch);
    }
  }
}

void Engine::set_sources(PlanHandle handle, SourceMap sources) {
  LoadedPlan& plan = find(handle);
  check_not_running("change sources");
  const Pause pause(*this);
  {
    const auto lock = lock_exchange();
    plan.set_sources(std::move(sources));
  }
  connect();
}

void Engine::start(PlanHandle handle, int64_t first_step, int64_t steps) {
  LoadedPlan& plan = find(handle);
  check_not_running("start a plan");
  CHECK(steps >= 0 && first_step >= 0, first_step, steps);
  plan.check_sources();
  if (shared_.fault()) forgive();
  if (plan.fresh || plan.next_step != first_step) restart(handle, epoch_ + 1, first_step);
  go(handle, first_step + steps);
}

void Engine::restart(PlanHandle handle, uint32_t epoch, int64_t first_step) {
  LoadedPlan& plan = find(handle);
  plan.check_sources();
  const Pause pause(*this);
  {
    const auto lock = lock_exchange();
    plan.fresh = true;
  }
  connect();  // takes the plan's streams out of the queues
  epoch_ = epoch;
  const auto lock = lock_exchange();
  plan.restart(epoch, first_step);
}

void Engine::go(PlanHandle handle, int64_t until) {
  LoadedPlan& plan = find(handle);
  CHECK(!plan.fresh && until >= plan.next_step, until, plan.next_step);
  current_ = &plan;
  seen_at_ = clock_.now();
  plan.next_step = until;
  plan.limit.store(until, std::memory_order_release);
  wake();
}

void Engine::forgive() {
  stop();
  shared_.forgive();
}

void Engine::hold() {
  if (held_ == nullptr) held_ = std::make_unique<Pause>(*this);
}

void Engine::resume() { held_.reset(); }

bool Engine::all_reached() const {
  if (current_ == nullptr) return true;
  for (int e = own_.first; e < own_.first + own_.count; ++e) {
    const Share& share = current_->share(e);
    if (share.limited > 0 && share.reached.load(std::memory_order_acquire) < current_->next_step) return false;
  }
  return true;
}

bool Engine::running() const { return current_ != nullptr && !shared_.fault() && !all_reached(); }

std::optional<Fault> Engine::fault() const { return shared_.fault(); }

void Engine::wait(double patience_s) {
  while (!wait_for(1e6, patience_s)) {
  }
}

bool Engine::wait_for(double at_most_s, double patience_s) {
  const double until = clock_.now() + at_most_s;
  for (;;) {
    const double left = until - clock_.now();
    shared_.wait_for(std::clamp(left, 0.0, patience_s / kLooksPerPatience), [&] { return all_reached(); });
    if (std::optional<Fault> fault = shared_.fault()) throw FaultError(*fault);
    if (all_reached()) return true;
    if (const uint64_t fired = firings(); fired != seen_firings_) {
      seen_firings_ = fired;
      seen_at_ = clock_.now();
    } else if (clock_.now() - seen_at_ >= patience_s) {
      Fault fault = stall();
      fault.deadline = patience_s;
      shared_.raise(fault);
      throw FaultError(std::move(fault));
    }
    if (clock_.now() >= until) return false;
  }
}

void Engine::stop() {
  const Pause pause(*this);
  {
    const auto lock = lock_exchange();
    for (const auto& plan : plans_) {
      if (plan != nullptr) plan->fresh = true;
    }
  }
  connect();
  current_ = nullptr;
}

uint64_t Engine::firings() const {
  uint64_t fired = 0;
  for (const auto& executor : executors_) fired += executor->firings();
  return fired;
}

int64_t Engine::read() const {
  int64_t least = -1;
  for (const auto& executor : executors_) {
    const int64_t read = executor->read();
    if (read >= 0) least = least < 0 ? read : std::min(least, read);
  }
  return least;
}

void Engine::wake() {
  for (const auto& executor : executors_) executor->ring();
}

void Engine::write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from) {
  check_not_running("write a variable");
  registers(handle).write(variable, from);
}

void Engine::observe(PlanHandle handle, const Observe& what) {
  LoadedPlan& loaded = find(handle);
  check_not_running("change what is recorded");
  const Pause pause(*this);
  const auto live = std::make_shared<LiveBytes>(loaded.plan());
  for (int e = own_.first; e < own_.first + own_.count; ++e) {
    Share& share = loaded.share(e);
    share.observer.reset();
    if (!what.any()) continue;
    std::vector<DeviceQueue*> queues;
    if (queues_ != nullptr) {
      queues.resize(loaded.plan().streams.size());
      for (const auto& stream : share.streams) queues[stream->id.index()] = stream->device_stream.queue();
    }
    share.observer = std::make_unique<Observer>(loaded.plan(), what, clock_, live, options_.backend, std::move(queues));
  }
  // Which slots are live is known from the first firing on only.
  if (what.live_bytes) {
    const auto lock = lock_exchange();
    loaded.fresh = true;
  }
  connect();
}

Observations Engine::observations(PlanHandle handle) {
  const LoadedPlan& loaded = find(handle);
  const Pause pause(*this);
  Observations all;
  all.tasks.resize(loaded.plan().tasks.size());
  for (int e = own_.first; e < own_.first + own_.count; ++e) {
    if (loaded.share(e).observer) loaded.share(e).observer->report(all);
  }
  std::sort(all.trace.begin(), all.trace.end(),
            [](const TracedFiring& a, const TracedFiring& b) { return a.begin_s < b.begin_s; });
  return all;
}

Standings Engine::standings() {
  if (current_ == nullptr) return {};
  const Pause pause(*this, kStandingsPatience);
  std::vector<std::optional<TaskId>> busy(static_cast<size_t>(own_.count));
  for (int e = own_.first; e < own_.first + own_.count; ++e) {
    const auto [plan, task] = executor(e).running();
    const bool of_this = plan == current_->handle().value;
    if (!pause.has(e) || task.valid()) busy[static_cast<size_t>(e - own_.first)] = of_this ? task : TaskId();
  }
  return {current_->handle().value, current_->epoch, troupe::standings(*current_, busy)};
}

}  // namespace troupe
