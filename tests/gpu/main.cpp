#include <gtest/gtest.h>

#include "tests/gpu/device.h"

namespace troupe {
namespace {

// Where there is no GPU, every test is skipped.
class SkipsWithoutGpu : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override {
    if (!has_gpu()) GTEST_SKIP() << gpus().description();
  }
};

}  // namespace
}  // namespace troupe

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new troupe::SkipsWithoutGpu);
  return RUN_ALL_TESTS();
}
