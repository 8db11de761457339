#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "ops/cuda/cublas_products.h"
#include "runtime/device/arena.h"
#include "tests/cuda/run.h"

namespace troupe {
namespace {

CudaQueue& queue_with_library() {
  static const KernelLibrary library = cuda::cublas_products(cuda::installed_cublas_lt());
  static const auto workspace = std::make_shared<Arena>(library.queue_bytes);
  static CudaQueue queue(0, CudaQueue::Graphs::no, library.make_state(0, DeviceMemory(workspace, workspace->data())));
  return queue;
}

}  // namespace

bool has(Products) { return true; }

// Kernels here read and write the host's memory, so that tools for memory errors see what they do.
void run_cuda_kernel(const std::string& op, const KernelArgs& args, Products products) {
  static CudaQueue own(0, CudaQueue::Graphs::no);
  CudaQueue& queue = products == Products::own ? own : queue_with_library();
  queue.launch(cuda_kernels().find(op, DeviceKind::cuda), args);
  EXPECT_EQ(cudaStreamSynchronize(queue.stream()), cudaSuccess) << op;
}

}  // namespace troupe
