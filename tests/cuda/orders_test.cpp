// What a simulated grid can do and a GPU cannot: run the threads of CUDA kernels in orders of choice.

#include <gtest/gtest.h>

#include "tests/cuda/attention_uses.h"
#include "tests/cuda/run.h"
#include "tests/simulated_cuda/grid.h"

namespace troupe {
namespace {

// A barrier too few, or a sum whose order is that of threads, gives other bits in some of these.
TEST(CudaKernels, GiveTheSameBitsInEveryOrderOfThreads) {
  cuda_results();  // in the order of a new process
  for (uint64_t seed : {2, 3}) {
    simulated::set_order(seed);
    for (const auto& [use, found] : cuda_results()) {
      EXPECT_EQ(run_on_cuda(use, use.inputs(), kCudaContext), found) << use.str() << " with seed " << seed;
    }
  }
  simulated::set_order(1);
}

TEST(CudaKernels, GiveTheSameBitsOfAttentionOnTensorCoresInEveryOrderOfThreads) {
  for (const UseCase& double_use : tensor_attention_uses()) {
    const UseCase use = double_use.in_low(DType::f16);
    simulated::set_order(1);
    const std::vector<HostTensor> found = run_on_cuda(use, use.inputs());
    for (uint64_t seed : {2, 3}) {
      simulated::set_order(seed);
      EXPECT_EQ(run_on_cuda(use, use.inputs()), found) << use.str() << " with seed " << seed;
    }
  }
  simulated::set_order(1);
}

TEST(CudaKernels, ReadTilesForTensorCoresWithoutTwoRowsInOneBank) {
  const uint64_t before = simulated::bank_conflicts();
  for (const UseCase& use : tensor_attention_uses()) {
    const UseCase low = use.in_low(DType::bf16);
    run_on_cuda(low, low.inputs());
  }
  EXPECT_EQ(simulated::bank_conflicts(), before);
}

}  // namespace
}  // namespace troupe
