// What is fetched and stored besides the messages of tasks: requests of this process, and those of others.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "actors/engine/exchange.h"
#include "actors/engine/registers.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

constexpr double kDisconnectSeconds = 0.5;  // for what is under way to be given up

}  // namespace

void Exchange::add(const PlanLife& life, const LoadedPlan* loaded, const Memory& memory, Crossings crossings) {
  const std::vector<int64_t> none(static_cast<size_t>(crossings.count()), -1);
  plans_.insert_or_assign(static_cast<uint16_t>(life.handle().value),
                          Loaded{&life, loaded, &memory, std::move(crossings), 0, none, 0, none});
}

void Exchange::remove(PlanHandle handle) { plans_.erase(static_cast<uint16_t>(handle.value)); }

std::variant<Pieces, std::string> Exchange::pieces_at(const WirePlace& place, int asker,
                                                      std::shared_ptr<const Arena>& keep) {
  const int driver = static_cast<int>(peers_.size()) - 1;
  if (place.reg < 0) {
    if (options_.self != driver) return std::string("only the driver lends memory");
    try {
      keep = std::make_shared<const Arena>(Arena::open({getpid(), place.file, place.bytes}));
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
    if (place.bytes == 0) return Pieces();
    return Pieces{{keep->data(), static_cast<size_t>(place.bytes)}};
  }
  if (place.reader < 0 && asker != driver) return std::string("only the driver may have all of a register");
  const auto it = plans_.find(place.plan);
  if (it == plans_.end()) return "plan " + std::to_string(place.plan) + " is not loaded";
  const Loaded& loaded = it->second;
  const Plan& plan = loaded.life->plan();
  const auto reg = static_cast<size_t>(place.reg);
  if (reg >= plan.registers.size() || place.slot < 0 || !plan.registers[reg].device.valid() ||
      static_cast<size_t>(place.slot) >= plan.registers[reg].slots.size()) {
    return std::string("there is no such register");
  }
  const std::span<std::byte> slot =
      Registers(*loaded.memory, *loaded.life).bytes(RegisterId(place.reg), static_cast<size_t>(place.slot));
  if (place.reader < 0) return Pieces{slot};
  const int number = loaded.crossings.find(TaskId(place.reader), RegisterId(place.reg));
  if (number < 0 || loaded.crossings.at(number).to != asker) return std::string("nobody there reads it");
  return pieces_of(loaded.crossings.at(number).runs, slot.data());
}

void Exchange::serve(int from, const WirePlace& place) {
  std::shared_ptr<const Arena> keep;
  auto found = pieces_at(place, from, keep);
  if (const auto* why = std::get_if<std::string>(&found)) return send(from, WireRefused{place.request, *why});
  send(from, WireFetched{place.request}, std::get<Pieces>(std::move(found)), std::move(keep));
}

void Exchange::ask(ExchangeJob& job, int process, Request request, WirePlace place, bool is_store) {
  place.request = next_++;
  ++job.left_;
  request.job = &job;
  request.process = process;
  request.is_store = is_store;
  if (const auto plan = plans_.find(place.plan); place.reg >= 0 && plan != plans_.end()) {
    request.what = "register '" + plan->second.life->plan().reg(RegisterId(place.reg)).name + "'";
  }
  if (peers_[static_cast<size_t>(process)].broken) {
    --job.left_;
    const std::string& name = options_.names[static_cast<size_t>(process)];
    return finish(job, name + " is out of reach", name);
  }
  const Pieces pieces = request.pieces;
  requests_.emplace(place.request, std::move(request));
  if (is_store) {
    send(process, WireStore{place}, pieces);
  } else {
    send(process, WireFetch{place});
  }
  wake();
}

void Exchange::fetch(ExchangeJob& job, int process, WirePlace place, Pieces into, std::shared_ptr<const Arena> keep) {
  const std::lock_guard lock(mutex_);
  ask(job, process, {nullptr, 0, std::move(into), "lent memory", std::move(keep)}, place, false);
}

void Exchange::store(ExchangeJob& job, int process, WirePlace place, Pieces from) {
  const std::lock_guard lock(mutex_);
  ask(job, process, {nullptr, 0, std::move(from), "lent memory", {}}, place, true);
}

void Exchange::fetch_initial(ExchangeJob& job, PlanHandle handle) {
  const std::lock_guard lock(mutex_);
  const Loaded& loaded = plans_.at(static_cast<uint16_t>(handle.value));
  const Plan& plan = loaded.life->plan();
  for (const Crossings::Initial& initial : loaded.crossings.initial()) {
    const Crossing& crossing = loaded.crossings.at(initial.crossing);
    if (crossing.to != options_.self || !is_far_process(crossing.from)) continue;
    const PlanRegister& reg = plan.reg(crossing.reg);
    for (int32_t slot = 0; slot < std::max(reg.initial, 1); ++slot) {
      WirePlace place;
      place.plan = static_cast<uint16_t>(handle.value);
      place.reg = static_cast<int32_t>(crossing.reg.value);
      place.slot = slot;
      place.reader = static_cast<int32_t>(initial.reader.value);
      const Registers registers(*loaded.memory, *loaded.life);
      Pieces into = pieces_of(crossing.runs, registers.bytes(crossing.reg, static_cast<size_t>(slot)).data());
      ask(job, crossing.from, {nullptr, 0, std::move(into), {}, {}}, place, false);
    }
  }
}

void Exchange::settle(uint64_t id, const std::string& failure, bool refused) {
  const auto it = requests_.find(id);
  if (it == requests_.end()) return;
  const Request request = std::move(it->second);
  requests_.erase(it);
  const std::string& from = options_.names[static_cast<size_t>(request.process)];
  --request.job->left_;
  request.job->refused_ |= refused && !request.job->failure_;
  finish(*request.job, failure.empty() ? "" : request.what + " of " + from + ": " + failure, from);
}

void Exchange::finish(ExchangeJob& job, const std::string& failure, const std::string& peer) {
  if (!failure.empty() && !job.failure_) {
    job.failure_ = Fault();
    job.failure_->what = failure;
    job.failure_->peer = peer;
  }
  if (job.left_ > 0) return;
  tell_ = true;
  finished_.notify_all();
}

void Exchange::fence(ExchangeJob& job, uint64_t number) {
  const std::lock_guard lock(mutex_);
  drain();
  for (size_t p = 0; p < peers_.size(); ++p) {
    if (options_.far[p]) send(static_cast<int>(p), WireFence{number});
  }
  ++job.left_;
  fences_.push_back({&job, number});
  wake();
}

// Nothing is under way to or from processes that live.
bool Exchange::quiet() const {
  const auto lives = [&](int process) { return !peers_[static_cast<size_t>(process)].broken; };
  return std::none_of(arriving_.begin(), arriving_.end(), [&](const auto& each) { return lives(each.second.from); }) &&
         std::none_of(sending_.begin(), sending_.end(), [&](const auto& each) { return lives(each.second.to); });
}

void Exchange::look_at_fences() {
  if (fences_.empty() || !quiet()) return;
  std::erase_if(fences_, [&](const AwaitedFence& fence) {
    const size_t driver = peers_.size() - 1;  // sends no messages of tasks, so it says no fences
    for (size_t p = 0; p < driver; ++p) {
      if (options_.far[p] && !peers_[p].broken && peers_[p].fence < fence.number) return false;
    }
    --fence.job->left_;
    finish(*fence.job, "");
    return true;
  });
}

bool Exchange::done(const ExchangeJob& job) const {
  const std::lock_guard lock(mutex_);
  return job.done();
}

bool Exchange::done(const ExchangeJob& job, double at_most_s) const {
  std::unique_lock lock(mutex_);
  return finished_.wait_for(lock, std::chrono::duration<double>(at_most_s), [&] { return job.done(); });
}

void Exchange::abandon(ExchangeJob& job) {
  const std::lock_guard lock(mutex_);
  std::erase_if(requests_, [&](const auto& entry) { return entry.second.job == &job; });
  std::erase_if(fences_, [&](const AwaitedFence& fence) { return fence.job == &job; });
  job.left_ = 0;
}

std::string Exchange::open_requests() const {
  const std::lock_guard lock(mutex_);
  return join(requests_, ", ", [&](const auto& entry) {
    return entry.second.what + " of " + options_.names[static_cast<size_t>(entry.second.process)];
  });
}

void Exchange::disconnect() {
  const std::lock_guard lock(mutex_);
  for (size_t p = 0; p < peers_.size(); ++p) {
    if (!options_.far[p]) continue;
    peers_[p].broken = true;
    network_->disconnect(static_cast<int>(p));
  }
  const double until = clock_.now() + kDisconnectSeconds;
  while ((!arriving_.empty() || !sending_.empty()) && clock_.now() < until) network_->progress(*this);
}

std::optional<Fault> Exchange::fault() const {
  const std::lock_guard lock(mutex_);
  return fault_;
}

}  // namespace troupe
