// For tests and measurements: the CUDA devices of this machine.
#pragma once

#include "runtime/device/cuda/backend.h"

namespace troupe {

// With Troupe's kernels. Lives as long as the process.
CudaBackend& gpus();

inline bool has_gpu() { return !gpus().devices().empty(); }

}  // namespace troupe
