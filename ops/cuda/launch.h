// Starting kernels on a stream.
#pragma once

#include <type_traits>

#include "ops/cuda/device.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda/stream.h"
#include "runtime/device/kernel.h"

namespace troupe::cuda {

// Arguments are converted to the kernel's parameters and copied before this returns.
template <class... Parameters>
void launch(Stream& stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream_of(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  CHECK(error == cudaSuccess, cudaGetErrorString(error), grid.x, grid.y, grid.z, block.x, block.y, block.z,
        shared_bytes);
}

}  // namespace troupe::cuda
