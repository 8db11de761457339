#include "actors/engine/driver.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"

namespace troupe {
namespace {

constexpr double kFarewellPatience = 2;  // seconds for workers to leave
constexpr double kGonePatience = 0.3;    // for the connection of a process to close that others do not reach any more

bool writes_variables(const Plan& plan) {
  return std::any_of(plan.registers.begin(), plan.registers.end(),
                     [](const PlanRegister& reg) { return reg.arena == ArenaKind::variables && reg.producer.valid(); });
}

// What tasks read before anything has fired, as far as it may be another host's.
int64_t initial_bytes(const Plan& plan) {
  int64_t bytes = 0;
  for (const PlanRegister& reg : plan.registers) {
    const bool read_first = !reg.is_control() && (!reg.producer.valid() || reg.initial > 0);
    if (read_first) bytes += reg.bytes * std::max(reg.initial, 1);
  }
  return bytes;
}

}  // namespace

Driver::Driver(Courier& courier, CrewOptions options, const Clock& clock)
    : courier_(courier), clock_(clock), crew_(std::move(options)) {}

Driver::~Driver() { exchange_runs_.reset(); }  // before what it reads

Driver::Loaded& Driver::find(PlanHandle handle) const {
  const bool known = handle.valid() && handle.index() < plans_.size() && plans_[handle.index()] != nullptr;
  if (!known) throw PlanError("plan " + std::to_string(handle.value) + " is not loaded");
  return *plans_[handle.index()];
}

void Driver::check_not_running(const char* what) const {
  if (running_) throw PlanError("cannot " + std::string(what) + " while a plan runs");
}

void Driver::send(int worker, uint64_t request, const Command& command) {
  sent_.resize(crew_.members().size());
  courier_.send(crew_.joined_as(worker), {++sent_[static_cast<size_t>(worker)], request, command});
}

void Driver::tell(uint64_t request, const Command& command) {
  for (size_t w = 0; w < crew_.members().size(); ++w) {  // fewer than wanted when it ends before all have joined
    if (!crew_.members()[w].gone) send(static_cast<int>(w), request, command);
  }
}

void Driver::look(double at_most_s) const {
  courier_.receive(crew_, at_most_s);
  crew_.tick(clock_.now());
}

// Sends to all and waits until all have answered. A member that goes meanwhile ends it.
void Driver::ask(const Command& command, int64_t bytes) {
  tell(crew_.ask(), command);
  wait_until_settled(command, kCommandPatience + static_cast<double>(bytes) / kLeastBytesPerSecond);
}

// When it fails, some workers may have carried it out and others not.
void Driver::ask_or_end(const Command& command, int64_t bytes, const std::string& otherwise) {
  try {
    ask(command, bytes);
  } catch (const std::exception& error) {
    end_run(otherwise, error);
    throw;
  }
}

void Driver::wait_until_settled(const Command& command, double patience_s) {
  const double began = clock_.now();
  while (!crew_.settled() && !crew_.gone() && !broken_) {
    look(kLook);
    look_at_links();
    if (crew_.settled() || clock_.now() - began < patience_s) continue;
    Fault fault;
    fault.what = std::string("no answer to '") + kCommandNames[command.index()] + "' from " + crew_.owing();
    fault.deadline = patience_s;
    raise(std::move(fault));
  }
  if (crew_.gone() || broken_) running_ = false;
  check_up();
  if (const std::optional<Answer> failure = crew_.failure()) {
    if (!failure->fault.peer.empty()) wait_for_the_gone();
    if (crew_.gone()) raise(*crew_.gone());
    if (failure->outcome == Answer::Outcome::user_error) throw PlanError(failure->fault.what);
    raise(failure->fault);
  }
}

void Driver::check_up() const {
  if (crew_.gone()) throw FaultError(*crew_.gone());
  if (broken_) throw FaultError(*broken_);
}

// From now on every call says why.
void Driver::end_run(const std::string& what, const std::exception& why) const {
  if (broken_) return;
  const auto* fault = dynamic_cast<const FaultError*>(&why);
  broken_ = fault != nullptr ? fault->fault() : Fault();
  broken_->what = "the run is over: " + what + ": " + (fault != nullptr ? broken_->what : why.what());
}

void Driver::raise(Fault fault) {
  running_ = false;
  throw FaultError(std::move(fault));
}

// From here on no task fires, in no process.
void Driver::hold() {
  if (!held_) {
    told_to_hold_ = true;
    ask(Hold{});
    held_ = true;
  }
  if (exchange_ == nullptr || fenced_) return;
  ask(Fence{++fences_}, bytes_of_plans());
  fenced_ = true;
}

void Driver::resume() {
  held_ = fenced_ = false;
  if (std::exchange(told_to_hold_, false)) tell(0, Resume{});
}

void Driver::hand_over() {
  for (const Command& command : feeds_.news()) tell(0, command);
}

void Driver::start(PlanHandle handle, int64_t first_step, int64_t steps) {
  Loaded& loaded = find(handle);
  PlanLife& life = loaded.life;
  check_not_running("start a plan");
  CHECK(steps >= 0 && first_step >= 0, first_step, steps);
  check_up();
  if (loaded.divided) raise(*loaded.divided);
  if (crew_.fault()) feeds_.send_again();  // it may be that of a batch which has not come
  crew_.forgive();
  hand_over();
  if (life.fresh || life.next_step != first_step) {
    hold();
    life.fresh = true;  // also when only some have begun it
    ask(Restart{handle.value, ++epoch_, first_step}, crew_.size() * initial_bytes(life.plan()));
    life.begin(epoch_, first_step);
    if (crew_.fault()) {  // of a batch: nothing else is under way
      life.fresh = true;
      raise(*crew_.fault());
    }
  }
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
    look_at_links();
    if (crew_.fault() && crew_.fault()->task.empty() && exchange_ != nullptr) wait_for_the_gone();
    if (const std::optional<Fault> fault = crew_.fault() ? crew_.fault() : broken_) {
      Fault named = *fault;
      const bool is_link = exchange_ != nullptr && named.task.empty() && !named.peer.empty();
      if (crew_.gone() || is_link) name_who_waits(named);
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
      // While the workers were asked, what was waited for may have come, or the reason why it does not.
      if (crew_.gone() || crew_.fault() || broken_ || crew_.reached() || crew_.firings() != seen_firings_) continue;
      fault.deadline = patience_s;
      stop_and_raise(std::move(fault));
    }
    if (clock_.now() >= until) return false;
  }
}

// A host that is gone is missed by the others first: it is the one to name.
void Driver::wait_for_the_gone() const {
  for (const double until = clock_.now() + kGonePatience; !crew_.gone() && clock_.now() < until;) look(kLook);
}

// Those that this process has itself: when one breaks, all that is left is to say so.
void Driver::look_at_links() {
  if (exchange_ == nullptr || broken_ || crew_.gone() || !exchange_->fault()) return;
  wait_for_the_gone();
  if (!crew_.gone()) broken_ = crew_.located(*exchange_->fault());
}

void Driver::stop() {
  running_ = false;
  begin_afresh();                       // also when not all can be stopped
  if (crew_.gone() || broken_) return;  // the rest has nobody to go on with
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
    const auto goes_on = [&] { return !crew_.gone() && !broken_ && !dismissed_; };
    if (loaded && goes_on()) stop();  // whatever a wait that failed has left
    for (size_t p = 0; p < plans_.size(); ++p) {
      if (plans_[p] != nullptr && goes_on()) unload(PlanHandle(static_cast<int64_t>(p)));
    }
  } catch (const std::exception& error) {
    // Nothing is needed any more of a worker that goes now; of one that stays and has not unloaded a plan, nothing can be.
    if (!crew_.gone()) end_run("not all workers have unloaded their plans", error);
  }
  running_ = false;
  // Nothing else ends what is under way.
  if (exchange_ != nullptr && (crew_.gone() || broken_)) exchange_->disconnect();
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
  check_up();
  if (exchange_ != nullptr) begin_afresh();  // so that hosts read again what they have of others' variables
  registers(handle).write(variable, from);
}

}  // namespace troupe
