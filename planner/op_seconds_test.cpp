#include "planner/op_seconds.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

double linear_seconds(DType dtype, double bytes, const Profile& profile) {
  const std::vector<TensorType> inputs = {{dtype, {100, 1000}}, {dtype, {200, 1000}}};
  const Attrs attrs;
  return op_seconds(*find_op("linear"), {inputs, attrs}, bytes, profile);
}

TEST(OpSeconds, AreThoseOfTheWorkOrOfTheTrafficWhicheverTakesLonger) {
  Profile profile;
  profile.matmul_flops_per_s = 4e9;
  profile.low_matmul_flops_per_s = 16e9;
  profile.memory_bytes_per_s = 1e9;
  EXPECT_DOUBLE_EQ(linear_seconds(DType::f32, 1, profile), 2.0 * 100 * 1000 * 200 / 4e9);
  for (DType low : {DType::bf16, DType::f16}) {
    EXPECT_DOUBLE_EQ(linear_seconds(low, 1, profile), 2.0 * 100 * 1000 * 200 / 16e9);
    EXPECT_DOUBLE_EQ(linear_seconds(low, 5e9, profile), 5);
  }
}

// NVIDIA's data sheet: 989 TFLOP/s of bfloat16 for 494 of TF32.
TEST(OpSeconds, OfLowProductsAreHalfOfThoseInFloat32OnAnH200) {
  const Profile profile = Profile::h200();
  EXPECT_NEAR(linear_seconds(DType::f32, 0, profile) / linear_seconds(DType::bf16, 0, profile), 2, 0.01);
}

}  // namespace
}  // namespace troupe
