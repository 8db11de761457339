// The library that drives CUDA devices, and the kernels a process has with it.
#pragma once

#include <memory>
#include <string>

#include "runtime/device/backend.h"
#include "runtime/device/kernel.h"

namespace troupe::python {

class Backend {
 public:
  // FaultError when the library cannot be loaded.
  explicit Backend(const std::string& library);

  DeviceBackend& devices() const { return *backend_; }
  const KernelTable& kernels() const { return kernels_; }

 private:
  std::unique_ptr<DeviceBackend> backend_;
  KernelTable kernels_;
};

}  // namespace troupe::python
