#include "actors/engine/memory.h"

#include <cstring>
#include <utility>

#include "runtime/base/check.h"

namespace troupe {

void Memory::add(const Plan& plan, int index) {
  // Everything is allocated before anything is replaced.
  std::map<std::string, OfDevice> fresh;
  for (const PlanDevice& device : plan.devices) {
    OfDevice& made = fresh[device.name];
    const OfDevice& old = devices_[device.name];
    const auto bytes_of = [&](ArenaKind kind) { return device.arena_bytes[static_cast<int>(kind)]; };
    if (bytes_of(ArenaKind::variables) > old.variables.bytes()) made.variables = Arena(bytes_of(ArenaKind::variables));
    if (bytes_of(ArenaKind::workspace) > old.workspace.bytes()) made.workspace = Arena(bytes_of(ArenaKind::workspace));
    made.io.emplace(index, Arena(bytes_of(ArenaKind::io)));
  }
  for (auto& [name, made] : fresh) {
    OfDevice& old = devices_[name];
    if (made.variables.bytes() > 0) {
      if (old.variables.bytes() > 0) {
        std::memcpy(made.variables.data(), old.variables.data(), static_cast<size_t>(old.variables.bytes()));
      }
      old.variables = std::move(made.variables);
    }
    if (made.workspace.bytes() > 0) old.workspace = std::move(made.workspace);
    old.io[index] = std::move(made.io[index]);
  }
}

void Memory::remove(int index) {
  for (auto& [name, device] : devices_) device.io.erase(index);
}

void Memory::clear() { devices_.clear(); }

const Arena& Memory::arena(const std::string& device, ArenaKind kind, int index) const {
  const OfDevice& of = devices_.at(device);
  if (kind == ArenaKind::variables) return of.variables;
  if (kind == ArenaKind::workspace) return of.workspace;
  return of.io.at(index);
}

std::byte* Memory::base(const std::string& device, ArenaKind kind, int index) const {
  return arena(device, kind, index).data();
}

int64_t Memory::bytes(const std::string& device, ArenaKind kind, int index) const {
  return arena(device, kind, index).bytes();
}

}  // namespace troupe
