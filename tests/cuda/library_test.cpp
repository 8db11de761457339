// What a simulated library can tell and NVIDIA's cannot: which ops use it.

#include <gtest/gtest.h>

#include <map>

#include "tests/cublas/simulated_cublas_lt.h"
#include "tests/cuda/run.h"

namespace troupe {
namespace {

// In all dtypes of the op. Of some uses our own kernel does: those of experts that are not full.
TEST(CudaLibrary, MakesTheProductsOfEveryOpThatHasAny) {
  std::map<std::pair<std::string, DType>, bool> made;
  for (const UseCase& use : cuda_uses(Products::cublas_lt)) {
    const int64_t before = simulated_cublas_lt::calls("cublasLtMatmul");
    run_on_cuda(use, use.inputs(), kCudaContext, Products::cublas_lt);
    made[{use.op, use.types()[0].dtype}] |= simulated_cublas_lt::calls("cublasLtMatmul") > before;
  }
  for (const auto& [which, by_library] : made) {
    EXPECT_TRUE(by_library) << which.first << " of " << name_of(which.second);
  }
  EXPECT_GE(made.size(), 26u);
}

}  // namespace
}  // namespace troupe
