#include "actors/engine/registers.h"

#include <algorithm>
#include <vector>

#include "actors/engine/parts.h"
#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {

std::span<std::byte> Registers::bytes(RegisterId id, size_t slot) const {
  const PlanRegister& reg = life_.plan().reg(id);
  CHECK(!reg.is_control(), reg.name);
  const DeviceId device = life_.device_of(id);
  if (!device.valid()) {
    throw PlanError("plan", life_.plan().name, "does not say on which device register '" + reg.name + "' lies", {});
  }
  const std::string& name = life_.plan().devices[device.index()].name;
  const int64_t offset = reg.slots.at(slot);
  CHECK(offset + reg.bytes <= memory_.bytes(name, reg.arena, life_.handle().value), reg.name, name);
  return {memory_.base(name, reg.arena, life_.handle().value) + offset, static_cast<size_t>(reg.bytes)};
}

std::vector<FarRegisters::Slot> Registers::far_slots(const std::vector<PlanPart>& parts) const {
  std::vector<FarRegisters::Slot> slots;
  for (const PlanPart& part : parts) {
    const DeviceId device = life_.device_of(part.reg);
    if (far_ == nullptr || !device.valid() || !far_->is_far(life_.plan().devices[device.index()].name)) continue;
    slots.push_back({part.reg, life_.slot_of(part)});
  }
  return slots;
}

void Registers::fetch(const PlanOutput& output, std::span<std::byte> into) const {
  if (const auto slots = far_slots(output.parts); !slots.empty()) far_->fetch(life_, slots);
  for (const PlanPart& part : output.parts) put_part(into, output.shape, output.dtype, part.box, bytes(part));
}

void Registers::read(const PlanVariable& variable, std::span<std::byte> into) const {
  std::vector<PlanPart> parts;  // copies of a part hold the same
  for (const PlanPart& part : variable.parts) {
    const auto same = [&](const PlanPart& other) { return other.box == part.box; };
    if (std::none_of(parts.begin(), parts.end(), same)) parts.push_back(part);
  }
  if (const auto slots = far_slots(parts); !slots.empty()) far_->fetch(life_, slots);
  for (const PlanPart& part : parts) put_part(into, variable.shape, variable.dtype, part.box, bytes(part));
}

void Registers::write(const PlanVariable& variable, std::span<const std::byte> from) const {
  for (const PlanPart& part : variable.parts) {
    take_part(from, variable.shape, variable.dtype, part.box, bytes(part));
  }
  if (const auto slots = far_slots(variable.parts); !slots.empty()) far_->store(life_, slots);
}

}  // namespace troupe
