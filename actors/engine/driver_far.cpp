// Registers that the driver's process cannot reach: of workers that share no memory with it, and on workers' devices.

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "actors/engine/device_names.h"
#include "actors/engine/driver.h"
#include "actors/engine/placement.h"

namespace troupe {

bool Driver::is_far(const std::string& device, ArenaKind kind) const {
  return is_on_other_host(device) || (is_cuda(device) && kind != ArenaKind::io);
}

bool Driver::is_on_other_host(const std::string& device) const {
  if (exchange_ == nullptr) return false;
  const int process = process_of_device(device, crew_.shares());
  return process >= 0 && exchange_->is_far_process(process);
}

namespace {

int64_t bytes_of(const PlanLife& life, const std::vector<FarRegisters::Slot>& slots) {
  int64_t bytes = 0;
  for (const FarRegisters::Slot& slot : slots) bytes += life.plan().reg(slot.reg).bytes;
  return bytes;
}

}  // namespace

template <class Ask>
void Driver::exchange_slots(const PlanLife& life, const std::vector<Slot>& all, Ask&& ask) const {
  std::vector<Slot> slots;
  std::copy_if(all.begin(), all.end(), std::back_inserter(slots), [&](const Slot& slot) {
    return is_on_other_host(life.plan().devices[life.device_of(slot.reg).index()].name);
  });
  if (slots.empty()) return;
  ExchangeJob job;
  int64_t bytes = 0;
  try {
    for (const Slot& slot : slots) {
      const std::string& device = life.plan().devices[life.device_of(slot.reg).index()].name;
      WirePlace place;
      place.plan = static_cast<uint16_t>(life.handle().value);
      place.reg = static_cast<int32_t>(slot.reg.value);
      place.slot = static_cast<int32_t>(slot.slot);
      const std::span<std::byte> here = Registers(memory_, life).bytes(slot.reg, slot.slot);
      bytes += static_cast<int64_t>(here.size());
      ask(job, process_of_device(device, crew_.shares()), place, Pieces{here});
    }
    wait_for_job(job, kCommandPatience + static_cast<double>(bytes) / kLeastBytesPerSecond);
  } catch (const std::exception& error) {
    exchange_->abandon(job);
    exchange_->disconnect();  // the bytes may be on their way still
    end_run("registers of other hosts could not be moved", error);
    throw;
  }
}

// Where devices have them they are copied to where this process, or their worker's exchange, finds them.
void Driver::fetch(const PlanLife& life, const std::vector<Slot>& slots) {
  if (const auto copy = copy_shared(life, slots)) ask(*copy, bytes_of(life, slots));
  exchange_slots(life, slots, [&](auto&&... args) { exchange_->fetch(std::forward<decltype(args)>(args)...); });
}

void Driver::store(const PlanLife& life, const std::vector<Slot>& slots) {
  exchange_slots(life, slots, [&](auto&&... args) { exchange_->store(std::forward<decltype(args)>(args)...); });
  std::optional<CopyShared> copy = copy_shared(life, slots);
  if (!copy) return;
  copy->to_device = true;
  ask_or_end(*copy, bytes_of(life, slots), "registers on devices could not be written");
}

// From devices, of those that lie on one.
std::optional<CopyShared> Driver::copy_shared(const PlanLife& life, const std::vector<Slot>& slots) const {
  CopyShared copy{life.handle().value, false, {}};
  for (const Slot& slot : slots) {
    const PlanRegister& reg = life.plan().reg(slot.reg);
    const bool on_device = is_cuda(life.plan().devices[reg.device.index()].name) && reg.arena != ArenaKind::io;
    if (on_device) copy.slots.push_back({slot.reg.value, static_cast<int32_t>(slot.slot)});
  }
  return copy.slots.empty() ? std::nullopt : std::optional(std::move(copy));
}

// What tasks read of other processes' registers before anything has fired.
std::vector<FarRegisters::Slot> Driver::initial_slots(const Plan& plan) const {
  const auto process_of = [&](DeviceId device) {
    return process_of_device(plan.devices[device.index()].name, crew_.shares());
  };
  std::set<RegisterId> found;
  for (const PlanTask& task : plan.tasks) {
    for (const PlanRead& read : task.inputs) {
      const PlanRegister& reg = plan.reg(read.reg);
      const bool read_first = !reg.is_control() && (!reg.producer.valid() || reg.initial > 0);
      if (read_first && reg.device.valid() && process_of(reg.device) != process_of(task.device)) found.insert(read.reg);
    }
  }
  std::vector<Slot> slots;
  for (const RegisterId reg : found) {
    for (int32_t slot = 0; slot < std::max(plan.reg(reg).initial, 1); ++slot) {
      slots.push_back({reg, static_cast<size_t>(slot)});
    }
  }
  return slots;
}

void Driver::wait_for_job(const ExchangeJob& job, double patience_s) const {
  for (const double began = clock_.now(); !courier_.done(*exchange_, job, kLook);) {
    courier_.receive(crew_, 0);
    crew_.tick(clock_.now());
    if (crew_.gone()) throw FaultError(*crew_.gone());
    if (clock_.now() - began < patience_s) continue;
    Fault fault;
    fault.what = "registers of other hosts did not arrive: " + exchange_->open_requests();
    fault.deadline = patience_s;
    throw FaultError(std::move(fault));
  }
  if (!job.failure()) return;
  wait_for_the_gone();
  throw FaultError(crew_.gone() ? *crew_.gone() : crew_.located(*job.failure()));
}

}  // namespace troupe
