// The bytes of a loaded plan's registers, and the logical tensors that they are parts of.
#pragma once

#include <span>

#include "actors/engine/memory.h"
#include "actors/engine/plan_life.h"

namespace troupe {

// A view: memory and plan outlive it. Bytes may be touched between a wait and the next start.
class Registers {
 public:
  Registers(const Memory& memory, const PlanLife& life) : memory_(memory), life_(life) {}

  // The bytes of a slot, of the newest version, of the version of one piece of the last step. PlanError when the plan
  // does not say on which device the register lies; it has none for a control edge.
  std::span<std::byte> bytes(RegisterId reg, size_t slot) const;
  std::span<std::byte> bytes(RegisterId reg) const { return bytes(reg, life_.newest_slot(reg)); }
  std::span<std::byte> bytes(const PlanPart& part) const { return bytes(part.reg, life_.slot_of(part)); }

  // A logical tensor put together from its parts, and taken apart into every copy. Row-major; sizes must agree.
  void fetch(const PlanOutput& output, std::span<std::byte> into) const;
  void read(const PlanVariable& variable, std::span<std::byte> into) const;
  void write(const PlanVariable& variable, std::span<const std::byte> from) const;

 private:
  const Memory& memory_;
  const PlanLife& life_;
};

}  // namespace troupe
