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

std::string name_of(Products products) { return products == Products::own ? "own" : "cublas_lt"; }

bool is_product(const std::string& op) {
  return op == "matmul" || op == "newton_schulz" || op.starts_with("linear") || op.starts_with("expert_linear");
}

RunContext on_cuda(RunContext context, Products products) {
  context.run = [](const OpDef& op, const KernelArgs& args) { run_cuda_kernel(op.name, args, Products::own); };
  if (products == Products::cublas_lt) {
    context.run = [](const OpDef& op, const KernelArgs& args) { run_cuda_kernel(op.name, args, Products::cublas_lt); };
  }
  return context;
}

std::vector<UseCase> cuda_use_cases(Products products) {
  std::vector<UseCase> uses = use_cases();
  std::erase_if(uses, [products](const UseCase& use) {
    return !has_cuda_kernel(use.op) || (products == Products::cublas_lt && !is_product(use.op));
  });
  return uses;
}

std::vector<UseCase> cuda_uses(Products products) {
  std::vector<UseCase> uses;
  for (const UseCase& use : cuda_use_cases(products)) {
    uses.push_back(use);
    if (use.has_float64() || use.attrs.has("dtype")) uses.push_back(use.in_f32());
    if (!use.takes_low()) continue;
    for (DType low : {DType::bf16, DType::f16}) uses.push_back(use.in_low(low));
  }
  return uses;
}

const std::vector<std::pair<UseCase, std::vector<HostTensor>>>& cuda_results(Products products) {
  const auto results_of = [](Products by) {
    std::vector<std::pair<UseCase, std::vector<HostTensor>>> found;
    for (const UseCase& use : cuda_uses(by)) found.emplace_back(use, run_on_cuda(use, use.inputs(), kCudaContext, by));
    return found;
  };
  if (products == Products::own) {
    static const auto by_own = results_of(Products::own);
    return by_own;
  }
  static const auto by_library = results_of(Products::cublas_lt);
  return by_library;
}

}  // namespace troupe
