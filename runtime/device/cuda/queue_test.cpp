#include "runtime/device/cuda/queue.h"

#include <atomic>
#include <optional>
#include <thread>

#include "runtime/device/cuda/backend.h"
#include "runtime/device/cuda/test_crossed_queues.h"
#include "runtime/device/cuda/test_kernels.h"
#include "tests/simulated_cuda/control.h"

namespace troupe {
namespace {

namespace cuda = simulated_cuda;

cuda::Setup two_devices() {
  cuda::Setup setup;
  setup.devices = {{"First", 1 << 20}, {"Second", 1 << 20}};
  return setup;
}

void no_kernels(KernelTable&) {}

TEST(CudaQueue, MarksKeepTheOrderAcrossQueuesAndDevices) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    cuda::reset(seed, two_devices());
    CudaBackend backend(no_kernels);
    CrossedQueues run(backend, 2, seed);
    ASSERT_TRUE(run.run(60)) << "seed " << seed;
  }
}

TEST(CudaQueue, WithoutItsWaitsTheOrderIsWrong) {
  int wrong = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    cuda::reset(seed, two_devices());
    CudaBackend backend(no_kernels);
    CrossedQueues run(backend, 2, seed);
    cuda::ignore_waits();
    wrong += !run.run(60);
  }
  EXPECT_GT(wrong, 40);
}

TEST(CudaQueue, EventsAreUsedAgain) {
  cuda::reset(1);
  {
    CudaBackend backend(no_kernels);
    const DeviceMemory cell = backend.allocate(0, 8);
    CudaQueue queue(0);
    for (int i = 0; i < 1000; ++i) {
      append(queue, cell.get(), cell.get(), i);
      wait_until_passed(queue, queue.mark());
    }
    EXPECT_EQ(cuda::events(), 1);
    for (int i = 0; i < 1000; ++i) {  // nobody asks whether these have been passed
      append(queue, cell.get(), cell.get(), i);
      EXPECT_EQ(queue.mark(), static_cast<uint64_t>(1001 + i));
      if (i % 5 == 0) cuda::step();
    }
    EXPECT_LT(cuda::events(), 1000);
    while (cuda::step()) {
    }
    const int64_t most = cuda::events();
    for (int i = 0; i < 100; ++i) {
      queue.mark();
      while (cuda::step()) {
      }
    }
    EXPECT_EQ(cuda::events(), most);
    EXPECT_TRUE(queue.has_passed(1000));
  }
  while (cuda::step()) {
  }
  EXPECT_EQ(cuda::events(), 0);
  EXPECT_EQ(cuda::streams(), 0);
  EXPECT_EQ(cuda::bytes_in_use(), 0);
}

TEST(CudaQueue, AMarkThatIsPassedIsNotWaitedFor) {
  cuda::reset(2);
  CudaQueue first(0);
  CudaQueue second(0);
  const uint64_t mark = first.mark();
  wait_until_passed(first, mark);
  cuda::fail_call("cudaStreamWaitEvent", cudaErrorUnknown);
  second.wait_for(first, mark);
  EXPECT_THROW(second.wait_for(first, first.mark()), FaultError);
}

TEST(CudaQueue, CallsComeBehindWhatIsInTheQueue) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    cuda::reset(seed);
    CudaBackend backend(no_kernels);
    const DeviceMemory cell = backend.allocate(0, 8);
    CudaQueue queue(0);
    append(queue, cell.get(), cell.get(), 0);
    wait_until_passed(queue, queue.mark());
    const int64_t before = cuda::kernels_run();
    std::vector<int64_t> seen;
    for (int i = 1; i <= 5; ++i) {
      append(queue, cell.get(), cell.get(), i);
      queue.call([&] { seen.push_back(cuda::kernels_run() - before); });
    }
    wait_until_passed(queue, queue.mark());
    EXPECT_EQ(seen, (std::vector<int64_t>{1, 2, 3, 4, 5}));
  }
}

TEST(CudaQueue, GoesOnByItself) {
  cuda::reset(3);
  CudaBackend backend(no_kernels);
  const DeviceMemory cell = backend.allocate(0, 8);
  CudaQueue queue(0);
  std::atomic<bool> called = false;
  const cuda::RunningByItself device;
  append(queue, cell.get(), cell.get(), 1);
  queue.call([&] { called = true; });
  while (!called) std::this_thread::yield();
  EXPECT_EQ(cuda::kernels_run(), 2);  // one sets the step
}

// It may wait for a device that has failed, and so for ever. What calls use may be gone with it.
TEST(CudaQueue, GoesWithoutWaiting) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    cuda::reset(seed);
    CudaBackend backend(no_kernels);
    const DeviceMemory cell = backend.allocate(0, 8);
    bool gone = false;
    {
      CudaQueue queue(0);
      append(queue, cell.get(), cell.get(), 1);
      queue.call([&] { EXPECT_FALSE(gone); });
    }
    gone = true;
    while (cuda::step()) {
    }
    EXPECT_EQ(cuda::kernels_run(), 2);  // one sets the step
    EXPECT_EQ(cuda::streams(), 0);
  }
}

// The thread's current device is another one.
TEST(CudaQueue, LaunchesOnItsOwnDevice) {
  cuda::reset(5, two_devices());
  CudaBackend backend(no_kernels);
  const DeviceMemory cell = backend.allocate(1, 8);
  CudaQueue queue(1);
  cudaSetDevice(0);
  append(queue, cell.get(), cell.get(), 7);
  cudaSetDevice(0);
  wait_until_passed(queue, queue.mark());
  uint64_t have = 0;
  backend.copy(&have, cell.get(), 8);
  EXPECT_EQ(have, 7u);
}

// "Not ready" is an error of the thread that asks, and must not be taken for one of the launch that follows.
TEST(CudaQueue, ALaunchIsNotBlamedForWhatCameBefore) {
  cuda::reset(6);
  CudaBackend backend(no_kernels);
  const DeviceMemory cell = backend.allocate(0, 8);
  EXPECT_THROW(backend.allocate(0, int64_t{1} << 40), FaultError);
  CudaQueue queue(0);
  int not_ready = 0;
  for (int i = 0; i < 100; ++i) {
    append(queue, cell.get(), cell.get(), 1);
    append(queue, cell.get(), cell.get(), 1);
    not_ready += !queue.has_passed(queue.mark());
  }
  EXPECT_GT(not_ready, 10);
}

TEST(CudaQueue, ALaunchThatFailsIsAFaultAndTheQueueGoesOn) {
  cuda::reset(7);
  CudaBackend backend(no_kernels);
  const DeviceMemory cell = backend.allocate(0, 8);
  CudaQueue queue(0);
  cuda::fail_call("cudaLaunchKernelExC", cudaErrorInvalidConfiguration, 3);  // the first sets the step
  append(queue, cell.get(), cell.get(), 1);
  const Fault fault = fault_of([&] { append(queue, cell.get(), cell.get(), 2); });
  EXPECT_EQ(fault.device, "cuda:0");
  contains(fault.what, "when a kernel was launched");
  contains(fault.what, "cudaErrorInvalidConfiguration (invalid configuration argument)");
  append(queue, cell.get(), cell.get(), 3);
  wait_until_passed(queue, queue.mark());
  uint64_t have = 0;
  backend.copy(&have, cell.get(), 8);
  EXPECT_EQ(have, 31u + 3u);
}

TEST(CudaQueue, StampsTellWhenItCameSoFar) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    cuda::reset(seed);
    CudaBackend backend(no_kernels);
    const DeviceMemory cell = backend.allocate(0, 8);
    CudaQueue queue(0);
    CudaQueue other(0);
    const auto first = queue.stamp();
    append(queue, cell.get(), cell.get(), 1);
    const uint64_t early = queue.mark();
    const auto second = queue.stamp();
    wait_until_passed(queue, early);
    append(queue, cell.get(), cell.get(), 2);  // before it is put the stamp behind it must be
    const auto third = queue.stamp();
    other.wait_for(queue, queue.mark());
    const auto last = other.stamp();
    wait_until_passed(other, other.mark());
    EXPECT_GE(second->seconds_since(*first), 0);
    EXPECT_GE(third->seconds_since(*second), 0);
    EXPECT_GE(last->seconds_since(*third), 0);
    EXPECT_FLOAT_EQ(static_cast<float>(second->seconds_since(*third)),
                    -static_cast<float>(third->seconds_since(*second)));
  }
}

TEST(CudaQueue, AStampThatIsNotPassedIsAFault) {
  cuda::reset(9);
  CudaQueue queue(0);
  const auto first = queue.stamp();
  CudaBackend backend(no_kernels);
  const DeviceMemory cell = backend.allocate(0, 8);
  wait_until_passed(queue, queue.mark());
  for (int i = 0; i < 50; ++i) append(queue, cell.get(), cell.get(), static_cast<uint64_t>(i));
  const auto second = queue.stamp();
  contains(fault_of([&] { second->seconds_since(*first); }).what, "cudaEventElapsedTime: cudaErrorNotReady");
  cuda::fail_call("cudaEventRecord", cudaErrorUnknown);
  contains(fault_of([&] { queue.stamp(); }).what, "cudaEventRecord");
}

// A device on which a kernel has failed, or that fell off.
class FailedDevice : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    cuda::reset(8, two_devices());
    backend_.emplace(no_kernels);
    for (int device = 0; device < 2; ++device) {
      cells_.push_back(backend_->allocate(device, 8));
      queues_.push_back(std::make_unique<CudaQueue>(device));
    }
  }
  void fail(int device) {
    if (GetParam()) {
      cuda::fail_device(device, error());
    } else {
      cuda::fail_kernel(device, error());
    }
  }
  static cudaError_t error() { return GetParam() ? cudaErrorUnknown : cudaErrorIllegalAddress; }
  void append_on(int device) {
    const auto d = static_cast<size_t>(device);
    append(*queues_[d], cells_[d].get(), cells_[d].get(), 1);
  }

  std::optional<CudaBackend> backend_;
  std::vector<DeviceMemory> cells_;
  std::vector<std::unique_ptr<CudaQueue>> queues_;
};

TEST_P(FailedDevice, IsAFaultOfWhoAsks) {
  append_on(1);
  const uint64_t mark = queues_[1]->mark();
  fail(1);
  const Fault fault = fault_of([&] { wait_until_passed(*queues_[1], mark); });
  EXPECT_EQ(fault.device, "cuda:1");
  contains(fault.what, "put into the queue before, or the device itself, has failed: cudaEventQuery: ");
  contains(fault.what, cudaGetErrorName(error()));
  contains(fault.what, cudaGetErrorString(error()));
}

TEST_P(FailedDevice, StaysSo) {
  append_on(1);
  const uint64_t mark = queues_[1]->mark();
  fail(1);
  EXPECT_THROW(wait_until_passed(*queues_[1], mark), FaultError);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(append_on(1), FaultError);
    EXPECT_THROW(queues_[1]->mark(), FaultError);
    EXPECT_THROW(queues_[1]->has_passed(mark), FaultError);
    EXPECT_THROW(queues_[1]->call([] {}), FaultError);
    EXPECT_THROW(CudaQueue(1).mark(), FaultError);
    EXPECT_THROW(backend_->allocate(1, 8), FaultError);
    EXPECT_THROW(backend_->fill_zero(cells_[1].get(), 8), FaultError);
    EXPECT_EQ(fault_of([&] { queues_[0]->wait_for(*queues_[1], mark); }).what.substr(0, 18), "waiting for cuda:1");
  }
}

// Whoever sleeps until it is called wakes up.
TEST_P(FailedDevice, CallsAllTheSame) {
  append_on(1);
  int called = 0;
  queues_[1]->call([&] { ++called; });
  fail(1);
  while (cuda::step()) {
  }
  EXPECT_EQ(called, 1);
}

TEST_P(FailedDevice, LeavesTheOtherOneAlone) {
  append_on(1);
  const uint64_t mark = queues_[1]->mark();
  fail(1);
  EXPECT_THROW(wait_until_passed(*queues_[1], mark), FaultError);
  for (int i = 0; i < 3; ++i) append_on(0);
  wait_until_passed(*queues_[0], queues_[0]->mark());
  uint64_t have = 0;
  backend_->copy(&have, cells_[0].get(), 8);
  EXPECT_EQ(have, 31u * 31u + 31u + 1u);
}

INSTANTIATE_TEST_SUITE_P(, FailedDevice, testing::Bool(),
                         [](const auto& fell_off) { return fell_off.param ? "FellOff" : "IllegalAddress"; });

TEST(CudaQueueDeathTest, HostCodeThatTouchesDeviceMemoryDies) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  cuda::reset(9);
  CudaBackend backend(no_kernels);
  const DeviceMemory cell = backend.allocate(0, 8);
  EXPECT_DEATH(*cell = std::byte{1}, "");
}

}  // namespace
}  // namespace troupe
