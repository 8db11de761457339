#include "runtime/device/kernel.h"

#include "runtime/base/check.h"

namespace troupe {

void KernelTable::add(const std::string& name, DeviceKind kind, Kernel kernel) {
  const bool added = kernels_.emplace(std::pair(name, kind), kernel).second;
  CHECK(added, name);
}

Kernel KernelTable::find(const std::string& name, DeviceKind kind) const {
  const auto it = kernels_.find({name, kind});
  return it == kernels_.end() ? nullptr : it->second;
}

}  // namespace troupe
