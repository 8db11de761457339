// What a kernel launches on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "runtime/device/kernel.h"

namespace troupe {

class CudaQueue;

// The queue of a stream that has a CudaQueue, and that queue's CUDA stream. Its device is the current one while a kernel
// function runs.
const CudaQueue& queue_of(const Stream& stream);
cudaStream_t stream_of(const Stream& stream);

// Where its kernels read the step of the firing, on its device. It is not in `Firing`, where it is -1, nor known when a kernel
// is launched, because a launch may come again in another step as part of a CUDA graph.
const int64_t* step_of(const Stream& stream);

}  // namespace troupe
