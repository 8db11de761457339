// The CUDA backend and its queues on what there is of GPUs.

#include <gtest/gtest.h>

#include <atomic>

#include "runtime/base/random.h"
#include "runtime/device/cuda/test_crossed_queues.h"
#include "tests/gpu/device.h"

namespace troupe {
namespace {

int device_count() { return static_cast<int>(gpus().devices().size()); }

TEST(GpuBackend, SaysWhichDevicesThereAre) {
  for (const DeviceInfo& device : gpus().devices()) {
    contains(gpus().description(), device.name);
    EXPECT_GT(device.free_bytes, 0);
    EXPECT_LE(device.free_bytes, device.memory_bytes);
  }
}

TEST(GpuBackend, MemoryIsZeroedAndCopiedAnyWay) {
  constexpr int64_t kBytes = 10'000;
  std::vector<DeviceMemory> blocks = {gpus().allocate_pinned(kBytes)};
  for (int i = 0; i < 2; ++i) {
    for (int device = 0; device < device_count(); ++device) blocks.push_back(gpus().allocate(device, kBytes));
  }
  std::vector<std::byte> have(kBytes, std::byte{1});
  for (const DeviceMemory& block : blocks) {
    gpus().copy(have.data(), block.get(), kBytes);
    EXPECT_EQ(have, std::vector<std::byte>(kBytes));
  }
  int number = 0;
  for (const DeviceMemory& from : blocks) {
    for (const DeviceMemory& to : blocks) {
      const std::vector<std::byte> wanted(kBytes, static_cast<std::byte>(++number));
      gpus().copy(from.get(), wanted.data(), kBytes);
      gpus().copy(to.get(), from.get(), kBytes);
      gpus().copy(have.data(), to.get(), kBytes);
      EXPECT_EQ(have, wanted);
      gpus().fill_zero(to.get(), kBytes);
      gpus().copy(have.data(), to.get(), kBytes);
      EXPECT_EQ(have, std::vector<std::byte>(kBytes));
    }
  }
}

TEST(GpuBackend, OutOfMemoryIsAFaultAndTheDeviceGoesOn) {
  const Fault fault = fault_of([] { gpus().allocate(0, int64_t{1} << 50); });
  EXPECT_EQ(fault.device, "cuda:0");
  contains(fault.what, "cudaErrorMemoryAllocation");
  EXPECT_NE(gpus().allocate(0, 8), nullptr);
}

TEST(GpuQueue, MarksKeepTheOrderAcrossQueues) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    CrossedQueues run(gpus(), 1, seed);
    ASSERT_TRUE(run.run(200)) << "seed " << seed;
  }
}

// Runs that come again go as graphs, where a path is left one by one; so orders show in what is appended.
TEST(GpuQueue, RunsThatComeAgainKeepTheOrder) {
  const DeviceMemory cell = gpus().allocate_pinned(8);
  const auto queue = gpus().make_queue(0);
  Random random(7);
  uint64_t expected = 0;
  for (int i = 0; i < 200; ++i) {
    for (int64_t left = random.between(1, 4); left > 0; --left) {
      const auto digit = static_cast<uint64_t>(random.below(2));
      append(*queue, cell.get(), cell.get(), digit);
      expected = expected * 31 + digit;
    }
    queue->mark();
  }
  wait_until_passed(*queue, queue->mark());
  EXPECT_EQ(*reinterpret_cast<const uint64_t*>(cell.get()), expected);
}

TEST(GpuQueue, CallsComeBehindWhatIsInTheQueue) {
  const DeviceMemory cell = gpus().allocate_pinned(8);
  const auto queue = gpus().make_queue(0);
  std::atomic<int> seen = 0;
  for (int i = 1; i <= 5; ++i) {
    append(*queue, cell.get(), cell.get(), i);
    queue->call([&] { ++seen; });
  }
  wait_until_passed(*queue, queue->mark());
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(*reinterpret_cast<const uint64_t*>(cell.get()), ((((1 * 31 + 2) * 31 + 3) * 31 + 4) * 31 + 5u));
}

}  // namespace
}  // namespace troupe
