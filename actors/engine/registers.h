// The bytes of a loaded plan's registers, and the logical tensors that they are parts of.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "actors/engine/memory.h"
#include "actors/engine/plan_life.h"

namespace troupe {

// Registers whose bytes lie in a process that shares no memory with this one. They are fetched to the same places of this
// process's own memory before they are read, and sent from there once they are written. Throws FaultError.
class FarRegisters {
 public:
  struct Slot {
    RegisterId reg;
    size_t slot;
  };
  virtual ~FarRegisters() = default;
  virtual bool is_far(const std::string& device) const = 0;
  virtual void fetch(const PlanLife& life, const std::vector<Slot>& slots) const = 0;
  virtual void store(const PlanLife& life, const std::vector<Slot>& slots) const = 0;
};

// A view: memory and plan outlive it. Bytes may be touched between a wait and the next start.
class Registers {
 public:
  // Without `far` all of it lies in this process's memory.
  Registers(const Memory& memory, const PlanLife& life, const FarRegisters* far = nullptr)
      : memory_(memory), life_(life), far_(far) {}

  // The bytes of a slot, of the newest version, of the version of one piece of the last step, as they lie in this
  // process; perhaps on a device, where the host must not touch them. PlanError when the plan does not say on which device the register lies; it has none for a control edge.
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
  const FarRegisters* far_;

  bool is_on_host(const PlanPart& part) const;
  void get(const PlanPart& part, DType dtype, const Shape& shape, std::span<std::byte> into) const;
  std::vector<FarRegisters::Slot> far_slots(const std::vector<PlanPart>& parts) const;
};

}  // namespace troupe
