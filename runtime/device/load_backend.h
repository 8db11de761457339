// Loads a backend of devices from a library of its own, so that a process does without what the library needs.
#pragma once

#include <memory>
#include <string>

#include "runtime/device/backend.h"

namespace troupe {

// What a library with a backend gives by the function of this name. It begins with the version in all versions.
struct BackendPlugin {
  const char* version;  // of Troupe; both must be of the same
  DeviceBackend* (*make)();
};
using BackendPluginFunction = const BackendPlugin* (*)();
inline constexpr const char* kBackendPluginFunction = "troupe_device_backend";

// FaultError that says what helps when there is no such library, or it is of another version. The library stays loaded.
std::unique_ptr<DeviceBackend> load_backend(const std::string& path);

}  // namespace troupe
