// For tests: ops with their CUDA kernels, on a simulated device (simulated_run.cpp) or a real one (tests/gpu/run.cpp).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ops/interpret.h"
#include "ops/test_use_cases.h"

namespace troupe {

const KernelTable& cuda_kernels();
bool has_cuda_kernel(const std::string& op);

// Puts the kernel of this name into a queue and waits. The views are of host memory, and operands that share it share the
// device's.
void run_cuda_kernel(const std::string& op, const KernelArgs& args);

// For run_op, run_kernel and what is built on them: the same, with CUDA kernels.
RunContext on_cuda(RunContext context = {});

inline std::vector<HostTensor> run_on_cuda(const UseCase& use, const std::vector<HostTensor>& inputs,
                                           const RunContext& context = {}) {
  return run_op(use.def(), use.attrs, inputs, on_cuda(context));
}

// Every use of an op that has a CUDA kernel, as it is and with float32, bf16 and f16 for float64.
std::vector<UseCase> cuda_uses();

// These uses, and what the kernels give with kCudaContext.
const std::vector<std::pair<UseCase, std::vector<HostTensor>>>& cuda_results();
inline const RunContext kCudaContext{.key = 7, .firing = {.step = 2, .seed = 3}};

}  // namespace troupe
