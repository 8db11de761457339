#include "runtime/device/load_backend.h"

#include <dlfcn.h>

#include <filesystem>

#include "runtime/base/error.h"

namespace troupe {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  Fault fault;
  fault.what = what;
  throw FaultError(std::move(fault));
}

template <class Function>
Function* find(void* library, const char* name, const std::string& path) {
  void* found = dlsym(library, name);
  if (found == nullptr) refuse("the CUDA backend " + path + " is none: it has no function " + name);
  return reinterpret_cast<Function*>(found);
}

}  // namespace

std::unique_ptr<DeviceBackend> load_backend(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    refuse("this Troupe was built without CUDA: there is no " + path +
           "; install NVIDIA's CUDA toolkit (nvcc, version 12 or newer), then build again");
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) refuse("the CUDA backend cannot be loaded: " + std::string(dlerror()));
  const int version = find<int()>(library, kBackendVersionName, path)();
  if (version != kBackendVersion) {
    refuse("the CUDA backend " + path + " has version " + std::to_string(version) + ", this Troupe needs " +
           std::to_string(kBackendVersion) + "; build again");
  }
  return std::unique_ptr<DeviceBackend>(find<DeviceBackend*()>(library, kMakeBackendName, path)());
}

}  // namespace troupe
