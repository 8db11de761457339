// Why a file could not be written.
#pragma once

#include <cstdint>
#include <string>

namespace troupe {

// What the system says of a write to this file that failed; where there was no room for it, also how many bytes it needs
// and how many are free: "No space left on device: it needs 12.0 MiB, 3.1 MiB are free". What was written of it must be
// gone.
std::string write_failure(int error, const std::string& path, int64_t needed);

}  // namespace troupe
