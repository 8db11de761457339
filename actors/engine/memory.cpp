#include "actors/engine/memory.h"

#include <cstring>
#include <utility>

#include "actors/engine/device_names.h"
#include "runtime/base/error.h"

namespace troupe {

bool Memory::add(const Plan& plan, int index) {
  // Everything is allocated before anything is replaced.
  std::map<std::string, OfDevice> fresh;
  for (const PlanDevice& device : plan.devices) {
    OfDevice& made = fresh[device.name];
    const OfDevice& old = devices_[device.name];
    const auto bytes_of = [&](ArenaKind kind) { return device.arena_bytes[static_cast<int>(kind)]; };
    const auto grow = [&](ArenaKind kind, Arena OfEpoch::*arena) {
      const int64_t bytes = bytes_of(kind);
      if (bytes > (old.epoch.*arena).bytes()) made.epoch.*arena = make(device.name, kind, bytes);
      const bool no_image = !has_image(device.name, kind) || bytes <= (old.image.*arena).bytes();
      if (!no_image) made.image.*arena = Arena::sparse(bytes);
    };
    grow(ArenaKind::variables, &OfEpoch::variables);
    grow(ArenaKind::workspace, &OfEpoch::workspace);
    if (!old.io.contains(index)) made.io.emplace(index, make(device.name, ArenaKind::io, bytes_of(ArenaKind::io)));
  }
  bool grown = false;
  for (auto& [name, made] : fresh) {
    OfDevice& old = devices_[name];
    if (made.epoch.variables.bytes() > 0) {
      grown = true;
      if (old.epoch.variables.bytes() > 0 && !(is_far_ && is_far_(name))) {
        copy(made.epoch.variables.data(), old.epoch.variables.data(), old.epoch.variables.bytes());
      }
    }
    for (const auto of : {&OfDevice::epoch, &OfDevice::image}) {
      for (const auto arena : {&OfEpoch::variables, &OfEpoch::workspace}) {
        if ((made.*of.*arena).bytes() > 0) old.*of.*arena = std::move(made.*of.*arena);
      }
    }
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
  OfEpoch& of = has_image(block.device, block.kind) ? device.image : device.epoch;
  if (block.kind == ArenaKind::variables) {
    of.variables = std::move(opened);
  } else if (block.kind == ArenaKind::workspace) {
    of.workspace = std::move(opened);
  } else {
    device.io[block.index] = std::move(opened);
  }
}

// Of the backend's; -1 for a device that is not its.
int Memory::number(const std::string& device) const {
  if (backend_ == nullptr || !is_cuda(device)) return -1;
  return number_ ? number_(device) : number_of(device);
}

bool Memory::is_on_host(const std::string& device, ArenaKind kind) const {
  return kind == ArenaKind::io || number(device) < 0;
}

bool Memory::has_image(const std::string& device, ArenaKind kind) const { return number_ && !is_on_host(device, kind); }

Arena Memory::make(const std::string& device, ArenaKind kind, int64_t bytes) const {
  if (!is_on_host(device, kind)) return make_on_device(device, bytes);
  if (backend_ != nullptr && !number_) return bytes == 0 ? Arena() : Arena(backend_->allocate_pinned(bytes), bytes);
  if (kind_ == Kind::shared) return Arena::shared(bytes);
  return is_far_ && is_far_(device) ? Arena::sparse(bytes) : Arena(bytes);
}

Arena Memory::make_on_device(const std::string& device, int64_t bytes) const {
  if (bytes == 0) return Arena();
  try {
    return {backend_->allocate(number(device), bytes), bytes};
  } catch (const FaultError& error) {
    Fault fault = error.fault();
    fault.device = device;  // the backend knows another name of it
    throw FaultError(std::move(fault));
  }
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
  return kind == ArenaKind::io ? of.io.at(index) : of_kind(of.epoch, kind);
}

const Arena& Memory::of_kind(const OfEpoch& epoch, ArenaKind kind) {
  return kind == ArenaKind::variables ? epoch.variables : epoch.workspace;
}

std::byte* Memory::base(const std::string& device, ArenaKind kind, int index) const {
  return arena(device, kind, index).data();
}

std::byte* Memory::shared_base(const std::string& device, ArenaKind kind, int index) const {
  return has_image(device, kind) ? of_kind(devices_.at(device).image, kind).data() : base(device, kind, index);
}

int64_t Memory::bytes(const std::string& device, ArenaKind kind, int index) const {
  return arena(device, kind, index).bytes();
}

}  // namespace troupe
