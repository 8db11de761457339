// Why a file could not be written.
#pragma once

#include <cstdint>
#include <string>

namespace troupe {

// What the system says of a write to this file or directory that failed; where there was no room for it, also how many
// bytes it needs and what there is:
//   No space left on device: it needs 12.0 MiB, 3.1 MiB are free
//   Disk quota exceeded: it needs 12.0 MiB, more than the quota here leaves
//   File too large: it needs 12.0 MiB, this process may write files of 1.0 MiB
//   File too large: it needs 5.0 GiB, more than a file may have here
// What was written of it must be gone.
std::string write_failure(int error, const std::string& path, int64_t needed);

}  // namespace troupe
