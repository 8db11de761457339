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

bool Registers::is_on_host(const PlanPart& part) const {
  const std::string& device = life_.plan().devices[life_.device_of(part.reg).index()].name;
  return memory_.is_on_host(device, life_.plan().reg(part.reg).arena);
}

// A part, into its place in the logical tensor.
void Registers::get(const PlanPart& part, DType dtype, const Shape& shape, std::span<std::byte> into) const {
  const std::span<std::byte> from = bytes(part);
  if (is_on_host(part)) return put_part(into, shape, dtype, part.box, from);
  std::vector<std::byte> staged(from.size());
  memory_.copy(staged.data(), from.data(), static_cast<int64_t>(from.size()));
  put_part(into, shape, dtype, part.box, staged);
}

void Registers::fetch(const PlanOutput& output, std::span<std::byte> into) const {
  if (const auto slots = far_slots(output.parts); !slots.empty()) far_->fetch(life_, slots);
  for (const PlanPart& part : output.parts) get(part, output.dtype, output.shape, into);
}

void Registers::read(const PlanVariable& variable, std::span<std::byte> into) const {
  std::vector<PlanPart> parts;  // copies of a part hold the same
  for (const PlanPart& part : variable.parts) {
    const auto same = [&](const PlanPart& other) { return other.box == part.box; };
    if (std::none_of(parts.begin(), parts.end(), same)) parts.push_back(part);
  }
  if (const auto slots = far_slots(parts); !slots.empty()) far_->fetch(life_, slots);
  for (const PlanPart& part : parts) get(part, variable.dtype, variable.shape, into);
}

void Registers::write(const PlanVariable& variable, std::span<const std::byte> from) const {
  std::vector<std::byte> staged;
  for (const PlanPart& part : variable.parts) {
    const std::span<std::byte> to = bytes(part);
    const bool on_host = is_on_host(part);
    if (!on_host) staged.resize(to.size());
    take_part(from, variable.shape, variable.dtype, part.box, on_host ? to : staged);
    if (!on_host) memory_.copy(to.data(), staged.data(), static_cast<int64_t>(to.size()));
  }
  if (const auto slots = far_slots(variable.parts); !slots.empty()) far_->store(life_, slots);
}

}  // namespace troupe
