#include "tests/gpu/table.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

Work work_of_kernel(const std::string& op) {
  for (const UseCase& use : gpt2_kernels()) {
    if (use.op == op) return work_of(use);
  }
  ADD_FAILURE() << op << " is not in the table";
  return {};
}

TEST(GpuTable, CountsBytesThatAreReadAndWritten) {
  EXPECT_EQ(work_of_kernel("gelu").bytes, 2.0 * 65536 * 3072 * 2);
  EXPECT_EQ(work_of_kernel("gelu").flops, 0);
  // Four arrays of float32 are read and three written, with three numbers and the step.
  EXPECT_EQ(work_of_kernel("adamw").bytes, 7.0 * 124475904 * 4 + 3 * 4 + 8);
  // Logits and labels; the loss and the logarithm of the sum per row.
  EXPECT_EQ(work_of_kernel("cross_entropy").bytes, 65536.0 * (50304 * 4 + 8 + 4 + 4));
}

TEST(GpuTable, HasUsesThatTheirOpsTake) {
  for (const UseCase& use : gpt2_kernels()) EXPECT_GT(work_of(use).bytes, 1e8) << use.op;
}

TEST(GpuTable, CountsOperationsOfProducts) {
  EXPECT_EQ(work_of_kernel("linear").flops, 2.0 * 65536 * 768 * 3072);
  EXPECT_EQ(work_of_kernel("linear_weight_gradient").flops, 2.0 * 65536 * 768 * 3072);
  // Behind the mask a query sees half of the keys, and itself.
  EXPECT_EQ(work_of_kernel("attention").flops, 2 * 2.0 * (1024 * 1025 / 2) * 64 * 12 * 64);
  EXPECT_EQ(work_of_kernel("attention_gradient").flops, 5 * 2.0 * (1024 * 1025 / 2) * 64 * 12 * 64);
}

TEST(GpuTable, CountsOperationsOfAttentionWithSharedKeys) {
  const double pairs = 8192.0 * 8193 / 2;
  EXPECT_EQ(work_of(llama_attention()[0]).flops, 2 * 2 * pairs * 128 * 32);
  EXPECT_EQ(work_of(llama_attention()[1]).flops, 5 * 2 * pairs * 128 * 32);
  // q and out, k and v; the logarithm of the sum per row.
  EXPECT_EQ(work_of(llama_attention()[0]).bytes, 8192.0 * 128 * 2 * (2 * 32 + 2 * 8) + 8192 * 32 * 4);
}

TEST(GpuTable, SaysWhatATimeMeans) {
  EXPECT_DOUBLE_EQ(rate_of({.bytes = 4.8e9}, 2).per_second, 2.4e12);
  EXPECT_DOUBLE_EQ(rate_of({.bytes = 4.8e9}, 2).share, 0.5);
  EXPECT_DOUBLE_EQ(rate_of({.bytes = 1, .flops = 989e9}, 4).per_second, 247.25e12);
  EXPECT_DOUBLE_EQ(rate_of({.bytes = 1, .flops = 989e9}, 4).share, 0.25);
  EXPECT_EQ(median({5, 1, 4, 2, 3}), 3);
}

}  // namespace
}  // namespace troupe
