#include "tests/cuda/run.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "ops/cuda/list.h"
#include "runtime/device/cuda/queue.h"

namespace troupe {
namespace {

const KernelTable& cuda_kernels() {
  static const KernelTable table = [] {
    KernelTable kernels;
    add_cuda_kernels(kernels);
    return kernels;
  }();
  return table;
}

void run_in_queue(const OpDef& op, const KernelArgs& args) { run_cuda_kernel(op.name, args); }

}  // namespace

// Kernels here read and write the host's memory, so that tools for memory errors see what they do.
void run_cuda_kernel(const std::string& op, const KernelArgs& args) {
  static CudaQueue queue(0);
  queue.launch(cuda_kernels().find(op, DeviceKind::cuda), args);
  EXPECT_EQ(cudaStreamSynchronize(queue.stream()), cudaSuccess) << op;
}

bool has_cuda_kernel(const std::string& op) { return cuda_kernels().find(op, DeviceKind::cuda) != nullptr; }

RunContext on_cuda(RunContext context) {
  context.run = run_in_queue;
  return context;
}

std::vector<UseCase> cuda_uses() {
  std::vector<UseCase> uses;
  for (const UseCase& use : use_cases()) {
    if (!has_cuda_kernel(use.op)) continue;
    uses.push_back(use);
    if (use.has_float64() || use.attrs.has("dtype")) uses.push_back(use.in_f32());
    if (!use.takes_low()) continue;
    for (DType low : {DType::bf16, DType::f16}) uses.push_back(use.in_low(low));
  }
  return uses;
}

}  // namespace troupe
