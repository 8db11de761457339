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

}  // namespace

std::unique_ptr<DeviceBackend> load_backend(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    refuse("there is no '" + path +
           "': Troupe was built without CUDA. Install NVIDIA's CUDA toolkit (nvcc), build Troupe again with "
           "TROUPE_CUDA=ON");
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    refuse("'" + path + "' cannot be loaded: " + (why == nullptr ? "unknown reason" : why));
  }
  const auto function = reinterpret_cast<BackendPluginFunction>(dlsym(library, kBackendPluginFunction));
  if (function == nullptr) refuse("'" + path + "' is no backend of Troupe");
  const BackendPlugin* plugin = function();
  if (std::string(plugin->version) != TROUPE_VERSION) {
    refuse("'" + path + "' is of Troupe " + plugin->version +
           ", but this is Troupe " TROUPE_VERSION "; build both together");
  }
  return std::unique_ptr<DeviceBackend>(plugin->make());
}

}  // namespace troupe
