// What a kernel launches on.
#pragma once

#include <cuda_runtime.h>

#include "runtime/device/kernel.h"

namespace troupe {

// The CUDA stream of a stream with a CudaQueue. Its device is the current one while a kernel function runs.
cudaStream_t stream_of(const Stream& stream);

}  // namespace troupe
