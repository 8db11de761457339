// Loading a backend of devices on demand: Troupe itself links none of what it needs.
#pragma once

#include <memory>
#include <string>

#include "runtime/device/backend.h"

namespace troupe {

// What a backend's library must have been built for; changes with what crosses between it and Troupe.
constexpr int kBackendVersion = 1;

// The functions of such a library, by their names.
constexpr const char* kBackendVersionName = "troupe_backend_version";  // int ()
constexpr const char* kMakeBackendName = "troupe_make_backend";        // DeviceBackend* (), which the caller deletes

// A backend of the library at this path, which stays loaded for good. FaultError when it is not there, cannot be loaded, or
// is another version's. Thread-safe.
std::unique_ptr<DeviceBackend> load_backend(const std::string& library);

}  // namespace troupe
