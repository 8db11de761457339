// For tests: ops with their CUDA kernels, on a simulated device (simulated_run.cpp) or a real one (tests/gpu/run.cpp).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "ops/interpret.h"
#include "ops/test_use_cases.h"

namespace troupe {

const KernelTable& cuda_kernels();
bool has_cuda_kernel(const std::string& op);

// What multiplies matrices in queues: our own kernel, or cuBLASLt where it takes the product.
enum class Products { own, cublas_lt };
bool has(Products products);
std::string name_of(Products products);
// Ops that are matrix products; the others do not depend on it.
bool is_product(const std::string& op);

// Puts the kernel of this name into a queue and waits. The views are of host memory, and operands that share it share the
// device's.
void run_cuda_kernel(const std::string& op, const KernelArgs& args, Products products = Products::own);

// For run_op, run_kernel and what is built on them: the same, with CUDA kernels.
RunContext on_cuda(RunContext context = {}, Products products = Products::own);

inline std::vector<HostTensor> run_on_cuda(const UseCase& use, const std::vector<HostTensor>& inputs,
                                           const RunContext& context = {}, Products products = Products::own) {
  return run_op(use.def(), use.attrs, inputs, on_cuda(context, products));
}

// Every use of an op that has a CUDA kernel; of matrix products alone for cuBLASLt.
std::vector<UseCase> cuda_use_cases(Products products = Products::own);
// These, as they are and with float32, bf16 and f16 for float64.
std::vector<UseCase> cuda_uses(Products products = Products::own);

// These uses, and what the kernels give with kCudaContext.
const std::vector<std::pair<UseCase, std::vector<HostTensor>>>& cuda_results(Products products = Products::own);
inline const RunContext kCudaContext{.key = 7, .firing = {.step = 2, .seed = 3}};

// Tests that hold for both: of cuBLASLt they are skipped where there is none.
class ForProducts : public testing::TestWithParam<Products> {
 protected:
  void SetUp() override {
    if (!has(GetParam())) GTEST_SKIP() << "there is no cuBLASLt";
  }
};
inline const auto kAllProducts = testing::Values(Products::own, Products::cublas_lt);
inline std::string name_of_products(const testing::TestParamInfo<Products>& info) { return name_of(info.param); }

}  // namespace troupe
