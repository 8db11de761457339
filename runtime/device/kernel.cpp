#include "runtime/device/kernel.h"

#include "runtime/base/check.h"

namespace troupe {

void KernelTable::add(const std::string& name, DeviceKind kind, Kernel kernel, KernelReads read) {
  const bool added = kernels_.emplace(std::pair(name, kind), Entry{kernel, read}).second;
  CHECK(added, name);
}

Kernel KernelTable::find(const std::string& name, DeviceKind kind) const {
  const auto it = kernels_.find({name, kind});
  return it == kernels_.end() ? nullptr : it->second.kernel;
}

KernelReads KernelTable::reads(const std::string& name, DeviceKind kind) const {
  const auto it = kernels_.find({name, kind});
  return it == kernels_.end() ? nullptr : it->second.reads;
}

}  // namespace troupe
