// For tests and measurements: the CUDA devices of this machine.
#pragma once

#include "runtime/device/cuda/backend.h"

namespace troupe {

// With Troupe's kernels, which do without libraries, and with those and the libraries that are installed. Live as long as the
// process.
CudaBackend& gpus();
CudaBackend& gpus_with_libraries();

inline bool has_gpu() { return !gpus().devices().empty(); }
inline bool has_libraries() { return gpus_with_libraries().queue_bytes() > 0; }

}  // namespace troupe
