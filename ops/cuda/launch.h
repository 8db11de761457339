// Starting kernels on a stream.
#pragma once

#include <type_traits>

#include "ops/cuda/device.h"
#include "runtime/device/cuda/stream.h"
#include "runtime/device/kernel.h"

namespace troupe::cuda {

// Dynamic shared memory of a block that a kernel gets without asking for more.
constexpr size_t kSharedUnasked = 48 * 1024;

// Arguments are converted to the kernel's parameters and copied before this returns. An error, perhaps of an earlier kernel,
// stays the thread's last one, which the queue asks for.
template <class... Parameters>
void launch(Stream& stream, dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  if (shared_bytes > kSharedUnasked) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream_of(stream);
  cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace troupe::cuda
