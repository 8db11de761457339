#include "tests/cuda/run.h"

#include "ops/cuda/list.h"

namespace troupe {

const KernelTable& cuda_kernels() {
  static const KernelTable table = [] {
    KernelTable kernels;
    add_cuda_kernels(kernels);
    return kernels;
  }();
  return table;
}

bool has_cuda_kernel(const std::string& op) { return cuda_kernels().find(op, DeviceKind::cuda) != nullptr; }

RunContext on_cuda(RunContext context) {
  context.run = [](const OpDef& op, const KernelArgs& args) { run_cuda_kernel(op.name, args); };
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

const std::vector<std::pair<UseCase, std::vector<HostTensor>>>& cuda_results() {
  static const auto all = [] {
    std::vector<std::pair<UseCase, std::vector<HostTensor>>> found;
    for (const UseCase& use : cuda_uses()) found.emplace_back(use, run_on_cuda(use, use.inputs(), kCudaContext));
    return found;
  }();
  return all;
}

}  // namespace troupe
