#include "actors/engine/memory.h"

#include <cstring>
#include <utility>

#include "actors/engine/device_names.h"

namespace troupe {

bool Memory::add(const Plan& plan, int index) {
  // Everything is allocated before anything is replaced.
  std::map<std::string, OfDevice> fresh;
  for (const PlanDevice& device : plan.devices) {
    OfDevice& made = fresh[device.name];
    const OfDevice& old = devices_[device.name];
    const auto bytes_of = [&](ArenaKind kind) { return device.arena_bytes[static_cast<int>(kind)]; };
    if (bytes_of(ArenaKind::variables) > old.variables.bytes()) {
      made.variables = make(device.name, ArenaKind::variables, bytes_of(ArenaKind::variables));
    }
    if (bytes_of(ArenaKind::workspace) > old.workspace.bytes()) {
      made.workspace = make(device.name, ArenaKind::workspace, bytes_of(ArenaKind::workspace));
    }
    if (!old.io.contains(index)) made.io.emplace(index, make(device.name, ArenaKind::io, bytes_of(ArenaKind::io)));
  }
  bool grown = false;
  for (auto& [name, made] : fresh) {
    OfDevice& old = devices_[name];
    if (made.variables.bytes() > 0) {
      grown = true;
      if (old.variables.bytes() > 0 && !(is_far_ && is_far_(name))) {
        copy(made.variables.data(), old.variables.data(), old.variables.bytes());
      }
      old.variables = std::move(made.variables);
    }
    if (made.workspace.bytes() > 0) old.workspace = std::move(made.workspace);
    old.io.merge(made.io);
  }
  return grown;
}

void Memory::remove(int index) {
  for (auto& [name, device] : devices_) device.io.erase(index);
}

std::vector<Memory::Block> Memory::blocks(const Plan& plan, int index) const {
  std::vector<Block> all;
  for (const PlanDevice& device : plan.devices) {
    for (ArenaKind kind : {ArenaKind::variables, ArenaKind::workspace, ArenaKind::io}) {
      const Arena& of = arena(device.name, kind, index);
      if (of.bytes() > 0) all.push_back({device.name, kind, index, of.file()});
    }
  }
  return all;
}

void Memory::put(const Block& block) {
  OfDevice& device = devices_[block.device];
  Arena opened = Arena::open(block.file);
  if (block.kind == ArenaKind::variables) {
    device.variables = std::move(opened);
  } else if (block.kind == ArenaKind::workspace) {
    device.workspace = std::move(opened);
  } else {
    device.io[block.index] = std::move(opened);
  }
}

Arena Memory::make(const std::string& device, ArenaKind kind, int64_t bytes) const {
  if (backend_ != nullptr) {
    if (bytes == 0) return Arena();
    const bool on_host = is_on_host(device, kind);
    return {on_host ? backend_->allocate_pinned(bytes) : backend_->allocate(number_of(device), bytes), bytes};
  }
  if (kind_ == Kind::shared) return Arena::shared(bytes);
  return is_far_ && is_far_(device) ? Arena::sparse(bytes) : Arena(bytes);
}

bool Memory::is_on_host(const std::string& device, ArenaKind kind) const {
  return kind == ArenaKind::io || !is_cuda(device);
}

void Memory::copy(std::byte* to, const std::byte* from, int64_t bytes) const {
  if (backend_ != nullptr) {
    backend_->copy(to, from, bytes);
  } else {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
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
