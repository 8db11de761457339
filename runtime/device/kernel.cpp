#include "runtime/device/kernel.h"

#include "runtime/base/check.h"

namespace troupe {

void KernelTable::add(const std::string& name, DeviceKind kind, Kernel kernel, KernelReads read) {
  const bool added = kernels_.emplace(std::pair(name, kind), Entry{kernel, read}).second;
  CHECK(added, name);
}

void KernelTable::explain(const std::string& name, KernelExplain text) {
  const bool added = explain_.emplace(name, text).second;
  CHECK(added, name);
}

std::string KernelTable::text_of(const std::string& name, const KernelArgs& args, const KernelReport& report) const {
  const auto it = explain_.find(name);
  if (it != explain_.end()) return it->second(args, report);
  return "element " + std::to_string(report.element) + " of operand " + std::to_string(report.operand) + " is " +
         std::to_string(report.value) + ", which '" + name + "' cannot take";
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
