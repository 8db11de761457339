// What CUDA's functions return, as faults.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "runtime/base/error.h"

namespace troupe {

// "cudaMalloc: cudaErrorMemoryAllocation (out of memory)"
std::string text_of(cudaError_t error, const std::string& call);

// "cuda:1": the device by its number in this process.
std::string name_of_device(int device);

// Throws FaultError unless the call, which was about this device, succeeded. The thread's last error is cleared, so that the
// next launch is not blamed for it. `doing` says what it was for.
void check(cudaError_t status, int device, const std::string& call, const std::string& doing = {});

}  // namespace troupe
