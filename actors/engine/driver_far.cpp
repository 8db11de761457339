// Registers of workers that share no memory with the driver's process.

#include <utility>

#include "actors/engine/driver.h"
#include "actors/engine/placement.h"

namespace troupe {

bool Driver::is_far(const std::string& device) const {
  if (exchange_ == nullptr) return false;
  const int process = process_of_device(device, crew_.shares());
  return process >= 0 && exchange_->is_far_process(process);
}

template <class Ask>
void Driver::exchange_slots(const PlanLife& life, const std::vector<Slot>& slots, Ask&& ask) const {
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

void Driver::fetch(const PlanLife& life, const std::vector<Slot>& slots) const {
  exchange_slots(life, slots, [&](auto&&... args) { exchange_->fetch(std::forward<decltype(args)>(args)...); });
}

void Driver::store(const PlanLife& life, const std::vector<Slot>& slots) const {
  exchange_slots(life, slots, [&](auto&&... args) { exchange_->store(std::forward<decltype(args)>(args)...); });
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
