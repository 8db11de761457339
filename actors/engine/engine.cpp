#include "actors/engine/engine.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <utility>

#include "actors/engine/agreement.h"
#include "actors/engine/parts.h"
#include "actors/engine/stall.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"
#include "runtime/plan/validate.h"

namespace troupe {
namespace {

// How often a waiting driver looks whether anything moves, in parts of its patience.
constexpr double kLooksPerPatience = 8;
constexpr double kStallReportPatience = 0.1;  // for executors whose kernels run

size_t row(int executors, int from, int to) { return static_cast<size_t>(from * executors + to); }

// By device: its executor. Devices in order, so that executors have about the same work.
std::vector<int> executors_of(const Plan& plan, int executors) {
  std::vector<double> work(plan.devices.size(), 0);
  for (const PlanTask& task : plan.tasks) work[task.device.index()] += task.predicted_s * task.firings_per_step;
  double total = std::accumulate(work.begin(), work.end(), 0.0);
  if (total <= 0) {  // a plan without predictions
    work.assign(work.size(), 1);
    total = static_cast<double>(work.size());
  }
  std::vector<int> result;
  double before = 0;
  for (double of_device : work) {
    result.push_back(std::min(static_cast<int>((before + of_device / 2) / total * executors), executors - 1));
    before += of_device;
  }
  return result;
}

std::vector<int> places(const Plan& plan, const EngineOptions& options) {
  std::vector<int> executor_of;
  const std::vector<int> of_device = executors_of(plan, options.executors);
  for (size_t s = 0; s < plan.streams.size(); ++s) {
    int place = options.place ? options.place(plan, StreamId(static_cast<int64_t>(s))) : -1;
    if (place < 0) place = of_device[plan.streams[s].device.index()];
    CHECK(place < options.executors, place, options.executors);
    executor_of.push_back(place);
  }
  return executor_of;
}

}  // namespace

// While one lives, no firing begins, none runs, and what executors own may be changed. Executors whose kernels run
// are waited for, at most so long.
class Engine::Pause {
 public:
  explicit Pause(Engine& engine, double at_most_s = 1e9) : engine_(engine) {
    engine_.shared_.hold(Shared::kPaused);
    const double until = engine_.clock_.now() + at_most_s;
    for (const auto& executor : engine_.executors_) {
      std::unique_lock lock(executor->mutex(), std::try_to_lock);
      while (!lock.owns_lock() && engine_.clock_.now() < until) {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        lock.try_lock();
      }
      locks_.push_back(std::move(lock));
    }
    if (!complete()) return;
    for (const auto& executor : engine_.executors_) executor->poll();  // nothing stays under way
  }
  ~Pause() {
    locks_.clear();
    engine_.shared_.release(Shared::kPaused);
    for (const auto& executor : engine_.executors_) executor->ring();
  }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  bool has(size_t executor) const { return locks_[executor].owns_lock(); }

 private:
  bool complete() const {
    return std::all_of(locks_.begin(), locks_.end(), [](const auto& lock) { return lock.owns_lock(); });
  }

  Engine& engine_;
  std::vector<std::unique_lock<std::mutex>> locks_;
};

Engine::Engine(const KernelTable& kernels, EngineOptions options, const Clock& clock)
    : kernels_(kernels), options_(std::move(options)), clock_(clock) {
  CHECK(options_.executors > 0, options_.executors);
  const auto n = static_cast<size_t>(options_.executors);
  std::vector<Executor*> peers;
  for (size_t i = 0; i < n; ++i) {
    executors_.push_back(std::make_unique<Executor>(static_cast<int>(i), shared_, clock_, options_.spin_s));
    peers.push_back(executors_.back().get());
  }
  for (const auto& executor : executors_) executor->set_peers(peers);
  lanes_.resize(n * n);
  connect();
}

Engine::~Engine() = default;

void Engine::set_bell(std::function<void(int)> bell) {
  const Pause pause(*this);
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

PlanHandle Engine::load(std::shared_ptr<const Plan> plan, SourceMap sources) {
  check_not_running("load a plan");
  CHECK(plan != nullptr);
  validate(*plan, "plan '" + plan->name + "'");
  for (const PlanVariable& variable : plan->variables) {
    for (const PlanPart& part : variable.parts) {
      if (plan->reg(part.reg).slot_count == 1) continue;
      throw PlanError("plan", plan->name, "variable '" + variable.name + "' has several slots; it must have one", {});
    }
  }
  const Pause pause(*this);
  const PlanHandle handle(static_cast<int64_t>(plans_.size()));
  CHECK(handle.value <= UINT16_MAX, "too many plans");
  plans_.push_back(std::make_unique<LoadedPlan>(plan, handle, kernels_, executors(), places(*plan, options_)));
  try {
    for (size_t other = 0; other + 1 < plans_.size(); ++other) {
      if (plans_[other] != nullptr) check_agree(*plans_.back(), *plans_[other]);
    }
    plans_.back()->set_sources(std::move(sources));
    memory_.add(*plan, handle.value);
  } catch (...) {
    plans_.pop_back();
    throw;
  }
  bind_all();
  connect();
  return handle;
}

void Engine::unload(PlanHandle handle) {
  find(handle);
  check_not_running("unload a plan");
  const Pause pause(*this);
  if (current_ == plans_[handle.index()].get()) current_ = nullptr;
  const std::unique_ptr<LoadedPlan> dropped = std::move(plans_[handle.index()]);
  connect();
  memory_.remove(handle.value);
  const bool none = std::all_of(plans_.begin(), plans_.end(), [](const auto& plan) { return plan == nullptr; });
  if (none) memory_.clear();
}

// Executors learn which plans there are. Nothing is under way: a pause has seen to that.
void Engine::connect() {
  const int n = executors();
  for (int from = 0; from < n; ++from) {
    for (int to = 0; to < n; ++to) {
      int64_t messages = 0;
      for (const auto& plan : plans_) messages += plan ? plan->under_way(from, to) : 0;
      std::unique_ptr<Lane>& lane = lanes_[row(n, from, to)];
      if (messages == 0) continue;
      if (lane == nullptr) lane = std::make_unique<Lane>();
      lane->reserve(messages);
    }
  }
  for (int e = 0; e < n; ++e) {
    std::vector<Lane*> incoming;
    std::vector<Lane*> outgoing;
    for (int other = 0; other < n; ++other) {
      incoming.push_back(lanes_[row(n, other, e)].get());
      outgoing.push_back(lanes_[row(n, e, other)].get());
    }
    std::vector<Share*> shares;
    for (const auto& plan : plans_) shares.push_back(plan ? &plan->share(e) : nullptr);
    executor(e).set_lanes(incoming, std::move(outgoing));
    executor(e).set_shares(std::move(shares));
  }
}

void Engine::bind_all() {
  for (const auto& loaded : plans_) {
    if (loaded == nullptr) continue;
    const Plan& plan = loaded->plan();
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      const PlanTask& task = plan.tasks[t];
      const std::string& device = plan.devices[task.device.index()].name;
      std::byte* workspace = memory_.base(device, ArenaKind::workspace, loaded->handle().value);
      std::span<std::byte> scratch;
      if (task.scratch_bytes > 0) scratch = {workspace + task.scratch_offset, static_cast<size_t>(task.scratch_bytes)};
      loaded->actor(TaskId(static_cast<int64_t>(t)))
          .bind([&](RegisterId reg, size_t slot) { return slot_data(*loaded, reg, slot); }, scratch);
    }
  }
}

std::byte* Engine::slot_data(const LoadedPlan& loaded, RegisterId id, size_t slot) const {
  const PlanRegister& reg = loaded.plan().reg(id);
  const DeviceId device = loaded.device_of(id);
  if (!device.valid()) {
    throw PlanError("plan", loaded.plan().name, "does not say on which device register '" + reg.name + "' lies", {});
  }
  const std::string& name = loaded.plan().devices[device.index()].name;
  const int64_t offset = reg.slots.at(slot);
  CHECK(offset + reg.bytes <= memory_.bytes(name, reg.arena, loaded.handle().value), reg.name, name);
  return memory_.base(name, reg.arena, loaded.handle().value) + offset;
}

void Engine::set_sources(PlanHandle handle, SourceMap sources) {
  LoadedPlan& plan = find(handle);
  check_not_running("change sources");
  const Pause pause(*this);
  plan.set_sources(std::move(sources));
  connect();
}

void Engine::start(PlanHandle handle, int64_t first_step, int64_t steps) {
  LoadedPlan& plan = find(handle);
  check_not_running("start a plan");
  CHECK(steps >= 0 && first_step >= 0, first_step, steps);
  plan.check_sources();
  if (shared_.fault()) {
    stop();
    shared_.forgive();
  }
  current_ = &plan;
  seen_at_ = clock_.now();
  if (plan.fresh || plan.next_step != first_step) {
    const Pause pause(*this);
    plan.fresh = true;
    connect();  // takes the plan's streams out of the queues
    plan.restart(++epoch_, first_step);
  }
  plan.next_step = first_step + steps;
  plan.limit.store(plan.next_step, std::memory_order_release);
  wake();
}

bool Engine::all_reached() const {
  if (current_ == nullptr) return true;
  for (int e = 0; e < executors(); ++e) {
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
    uint64_t firings = 0;
    for (const auto& executor : executors_) firings += executor->firings();
    if (firings != seen_firings_) {
      seen_firings_ = firings;
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
  for (const auto& plan : plans_) {
    if (plan != nullptr) plan->fresh = true;
  }
  connect();
  current_ = nullptr;
}

void Engine::wake() {
  for (const auto& executor : executors_) executor->ring();
}

std::span<std::byte> Engine::bytes(PlanHandle handle, RegisterId reg, size_t slot) const {
  const LoadedPlan& loaded = find(handle);
  CHECK(!loaded.plan().reg(reg).is_control(), loaded.plan().reg(reg).name);
  return {slot_data(loaded, reg, slot), static_cast<size_t>(loaded.plan().reg(reg).bytes)};
}

std::span<std::byte> Engine::bytes(PlanHandle handle, RegisterId reg) const {
  return bytes(handle, reg, find(handle).newest_slot(reg));
}

std::span<std::byte> Engine::bytes(PlanHandle handle, const PlanPart& part) const {
  return bytes(handle, part.reg, find(handle).slot_of(part));
}

void Engine::fetch(PlanHandle handle, const PlanOutput& output, std::span<std::byte> into) const {
  for (const PlanPart& part : output.parts) put_part(into, output.shape, output.dtype, part.box, bytes(handle, part));
}

void Engine::read(PlanHandle handle, const PlanVariable& variable, std::span<std::byte> into) const {
  std::vector<Box> done;  // copies of a part hold the same
  for (const PlanPart& part : variable.parts) {
    if (std::find(done.begin(), done.end(), part.box) != done.end()) continue;
    put_part(into, variable.shape, variable.dtype, part.box, bytes(handle, part));
    done.push_back(part.box);
  }
}

void Engine::write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from) {
  check_not_running("write a variable");
  for (const PlanPart& part : variable.parts) {
    take_part(from, variable.shape, variable.dtype, part.box, bytes(handle, part));
  }
}

void Engine::observe(PlanHandle handle, const Observe& what) {
  LoadedPlan& loaded = find(handle);
  check_not_running("change what is recorded");
  const Pause pause(*this);
  const auto live = std::make_shared<LiveBytes>(loaded.plan());
  for (int e = 0; e < executors(); ++e) {
    Share& share = loaded.share(e);
    share.observer.reset();
    if (what.any()) share.observer = std::make_unique<Observer>(loaded.plan(), what, clock_, live);
  }
  // Which slots are live is known from the first firing on only.
  if (what.live_bytes) loaded.fresh = true;
  connect();
}

Observations Engine::observations(PlanHandle handle) {
  const LoadedPlan& loaded = find(handle);
  const Pause pause(*this);
  Observations all;
  all.tasks.resize(loaded.plan().tasks.size());
  for (int e = 0; e < executors(); ++e) {
    if (loaded.share(e).observer) loaded.share(e).observer->report(all);
  }
  std::sort(all.trace.begin(), all.trace.end(),
            [](const TracedFiring& a, const TracedFiring& b) { return a.begin_s < b.begin_s; });
  return all;
}

std::string Engine::stall_report() { return stall().what; }

Fault Engine::stall() {
  Fault fault;
  fault.what = "no plan runs";
  if (current_ == nullptr) return fault;
  const Pause pause(*this, kStallReportPatience);
  std::vector<std::optional<TaskId>> busy(static_cast<size_t>(executors()));  // what executors that do not stop run
  for (size_t e = 0; e < busy.size(); ++e) {
    if (!pause.has(e)) busy[e] = executors_[e]->running().second;
  }
  const Stall stall = describe_stall(*current_, busy, clock_.now() - seen_at_);
  fault.what = stall.text;
  if (stall.chain.empty()) return fault;
  const auto name = [&](TaskId task) { return current_->plan().task(task).name; };
  fault.task = name(stall.chain.front());
  fault.device = current_->plan().devices[current_->plan().task(stall.chain.front()).device.index()].name;
  if (stall.chain.size() > 1) fault.peer = name(stall.chain.back());
  return fault;
}

}  // namespace troupe
