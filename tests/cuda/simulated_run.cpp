#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "runtime/device/cuda/queue.h"
#include "tests/cuda/run.h"

namespace troupe {

// Kernels here read and write the host's memory, so that tools for memory errors see what they do.
void run_cuda_kernel(const std::string& op, const KernelArgs& args) {
  static CudaQueue queue(0);
  queue.launch(cuda_kernels().find(op, DeviceKind::cuda), args);
  EXPECT_EQ(cudaStreamSynchronize(queue.stream()), cudaSuccess) << op;
}

}  // namespace troupe
