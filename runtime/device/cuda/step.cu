#include "runtime/device/cuda/step.h"

namespace troupe {
namespace {

__global__ void set_step_kernel(int64_t* at, int64_t step) { *at = step; }

}  // namespace

void set_step(int64_t* at, int64_t step, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(1);
  config.blockDim = dim3(1);
  config.stream = stream;
  cudaLaunchKernelEx(&config, set_step_kernel, at, step);
}

}  // namespace troupe
