// The step of a run, where kernels on a device can read it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace troupe {

// On the stream: *at = step, in the memory of the stream's device. An error stays the thread's last one.
void set_step(int64_t* at, int64_t step, cudaStream_t stream);

}  // namespace troupe
