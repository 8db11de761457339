#include "runtime/device/cuda/backend.h"

#include <algorithm>
#include <cstdlib>

#include "runtime/device/cuda/queue.h"
#include "runtime/device/cuda/test_kernels.h"
#include "tests/simulated_cuda/control.h"

namespace troupe {
namespace {

namespace cuda = simulated_cuda;

void no_kernels(KernelTable&) {}

cuda::Setup setup_of(std::vector<cuda::SimulatedDevice> devices, int driver = 13000) {
  cuda::Setup setup;
  setup.devices = std::move(devices);
  setup.driver = driver;
  return setup;
}

std::string description() { return CudaBackend(no_kernels).description(); }

TEST(CudaBackend, SaysWhichDevicesThereAre) {
  cuda::reset(0, setup_of({{"NVIDIA H200", int64_t{141} << 30}, {"NVIDIA H100", int64_t{80} << 30}}, 13020));
  CudaBackend backend(no_kernels);
  EXPECT_EQ(backend.description(),
            "2 CUDA devices: NVIDIA H200 (141.0 GiB), NVIDIA H100 (80.0 GiB); driver 13.2, runtime 13.0");
  const std::vector<DeviceInfo> devices = backend.devices();
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[1].name, "NVIDIA H100");
  EXPECT_EQ(devices[1].memory_bytes, int64_t{80} << 30);
}

TEST(CudaBackend, CountsWhatIsFreeNow) {
  cuda::reset(0, setup_of({{"First", 1 << 20}, {"Second", 1 << 20}}));
  CudaBackend backend(no_kernels);
  const DeviceMemory memory = backend.allocate(1, 4096);
  EXPECT_EQ(backend.devices()[0].free_bytes, 1 << 20);
  EXPECT_EQ(backend.devices()[1].free_bytes, (1 << 20) - 4096);
}

TEST(CudaBackend, WithoutADriverHasNoDeviceAndSaysWhatHelps) {
  cuda::reset(0, setup_of({{}}, 0));
  EXPECT_TRUE(CudaBackend(no_kernels).devices().empty());
  contains(description(), "no CUDA device: no NVIDIA driver was found; install one for CUDA 13.0 or newer");
}

TEST(CudaBackend, WithAnOldDriverSaysBothVersions) {
  cuda::reset(0, setup_of({{}}, 12080));
  EXPECT_TRUE(CudaBackend(no_kernels).devices().empty());
  EXPECT_EQ(
      description(),
      "no CUDA device: the NVIDIA driver is for CUDA 12.8, but Troupe was built with 13.0 and needs one for 13.0 or "
      "newer");
}

TEST(CudaBackend, WithoutVisibleDevicesSaysSo) {
  cuda::reset(0, setup_of({}));
  EXPECT_TRUE(CudaBackend(no_kernels).devices().empty());
  unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_EQ(description(), "no CUDA device: the driver shows none");
  setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
  EXPECT_EQ(description(), "no CUDA device: the driver shows none (CUDA_VISIBLE_DEVICES is '-1')");
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST(CudaBackend, TakesAnyOtherErrorForNoDevice) {
  cuda::reset(0);
  cuda::fail_call("cudaGetDeviceCount", cudaErrorInitializationError);
  const CudaBackend backend(no_kernels);
  EXPECT_TRUE(backend.devices().empty());
  EXPECT_EQ(backend.description(),
            "no CUDA device: cudaGetDeviceCount: cudaErrorInitializationError (initialization error)");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(CudaBackend, CopiesBetweenHostsAndDevicesAndAnyWay) {
  cuda::reset(0, setup_of({{"First", 1 << 20}, {"Second", 1 << 20}}));
  CudaBackend backend(no_kernels);
  const int64_t bytes = 10000;
  std::vector<DeviceMemory> blocks = {backend.allocate(0, bytes), backend.allocate(1, bytes),
                                      backend.allocate_pinned(bytes), backend.allocate(1, bytes)};
  std::vector<std::byte> pageable(static_cast<size_t>(bytes));
  for (const DeviceMemory& from : blocks) {
    for (const DeviceMemory& to : blocks) {
      std::vector<std::byte> wanted(static_cast<size_t>(bytes));
      for (std::byte& byte : wanted) byte = static_cast<std::byte>(std::rand());
      backend.copy(from.get(), wanted.data(), bytes);
      backend.copy(to.get(), from.get(), bytes);
      backend.copy(pageable.data(), to.get(), bytes);
      ASSERT_EQ(pageable, wanted);
    }
  }
}

TEST(CudaBackend, MemoryIsZeroedAndCanBeZeroedAgain) {
  cuda::reset(0);
  CudaBackend backend(no_kernels);
  const std::vector<std::byte> zeros(1000);
  std::vector<std::byte> have(1000, std::byte{1});
  for (const DeviceMemory& block : {backend.allocate(0, 1000), backend.allocate_pinned(1000)}) {
    backend.copy(have.data(), block.get(), 1000);
    EXPECT_EQ(have, zeros);
    std::fill(have.begin(), have.end(), std::byte{1});
    backend.copy(block.get(), have.data(), 1000);
    backend.fill_zero(block.get(), 1000);
    backend.copy(have.data(), block.get(), 1000);
    EXPECT_EQ(have, zeros);
  }
  EXPECT_EQ(backend.allocate(0, 0).get(), nullptr);
}

TEST(CudaBackend, MemoryFreesItself) {
  cuda::reset(0, setup_of({{"First", 1 << 20}, {"Second", 1 << 20}}));
  CudaBackend backend(no_kernels);
  for (int i = 0; i < 100; ++i) {
    const DeviceMemory block = backend.allocate(1, 1 << 19);
    EXPECT_EQ(cuda::bytes_in_use(), 1 << 19);
    cudaSetDevice(0);
  }
  EXPECT_EQ(cuda::bytes_in_use(), 0);
}

TEST(CudaBackend, OutOfMemorySaysWhatWasWantedAndWhatIsFree) {
  cuda::reset(0, setup_of({{"First", 1 << 20}, {"Second", 8 << 20}}));
  CudaBackend backend(no_kernels);
  const DeviceMemory some = backend.allocate(1, 2 << 20);
  const Fault fault = fault_of([&] { backend.allocate(1, 7 << 20); });
  EXPECT_EQ(fault.device, "cuda:1");
  EXPECT_EQ(
      fault.what,
      "allocating 7.0 MiB, where 6.0 MiB of 8.0 MiB are free: cudaMalloc: cudaErrorMemoryAllocation (out of memory)");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_NE(backend.allocate(1, 6 << 20), nullptr);
}

TEST(CudaBackend, FailedCallsAreFaults) {
  cuda::reset(0);
  CudaBackend backend(no_kernels);
  const DeviceMemory block = backend.allocate(0, 64);
  std::vector<std::byte> host(64);
  const auto fails = [&](const char* call, auto&& what) {
    cuda::fail_call(call, cudaErrorUnknown);
    contains(fault_of(what).what, std::string(call) + ": cudaErrorUnknown (unknown error)");
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << call;
    what();
  };
  fails("cudaMemcpyAsync", [&] { backend.copy(host.data(), block.get(), 64); });
  fails("cudaMemsetAsync", [&] { backend.fill_zero(block.get(), 64); });
  fails("cudaStreamSynchronize", [&] { backend.copy(host.data(), block.get(), 64); });
  fails("cudaPointerGetAttributes", [&] { backend.copy(host.data(), block.get(), 64); });
  fails("cudaMallocHost", [&] { backend.allocate_pinned(64); });
  fails("cudaMalloc", [&] { backend.allocate(0, 64); });
  fails("cudaMemGetInfo", [&] { backend.devices(); });
  fails("cudaSetDevice", [&] { backend.make_queue(0); });
  fails("cudaStreamCreateWithFlags", [&] { backend.make_queue(0); });
  fails("cudaEventCreateWithFlags", [&] { backend.make_queue(0)->mark(); });
  fails("cudaEventRecord", [&] { backend.make_queue(0)->mark(); });
  while (cuda::step()) {
  }
  EXPECT_EQ(cuda::events(), 0);
  EXPECT_EQ(cuda::streams(), 0);
}

// As where devices pull from one another's registers.
TEST(CudaBackend, KernelsReachTheMemoryOfOtherDevices) {
  for (const bool queues_first : {false, true}) {
    cuda::reset(0, setup_of({{"First", 1 << 20}, {"Second", 1 << 20}, {"Third", 1 << 20}}));
    CudaBackend backend(no_kernels);
    std::vector<DeviceMemory> cells;
    std::vector<std::unique_ptr<DeviceQueue>> queues;
    const auto make_queues = [&] {
      for (int device = 0; device < 3; ++device) queues.push_back(backend.make_queue(device));
    };
    if (queues_first) make_queues();
    for (int device = 0; device < 3; ++device) cells.push_back(backend.allocate(device, 8));
    if (!queues_first) make_queues();
    uint64_t have = 5;
    for (const DeviceMemory& from : cells) {
      for (const DeviceMemory& to : cells) {
        for (const auto& queue : queues) {
          backend.copy(from.get(), &have, 8);
          append(*queue, from.get(), to.get(), 1);
          while (!queue->has_passed(queue->mark())) {
          }
          uint64_t now = 0;
          backend.copy(&now, to.get(), 8);
          ASSERT_EQ(now, have * 31 + 1);
          have = now;
        }
      }
    }
  }
}

TEST(CudaBackend, DevicesThatCannotReachOneAnotherCanBeUsed) {
  cuda::Setup setup = setup_of({{"First", 1 << 20}, {"Second", 1 << 20}});
  setup.peers = false;
  cuda::reset(0, setup);
  CudaBackend backend(no_kernels);
  const std::vector<DeviceMemory> cells = {backend.allocate(0, 8), backend.allocate(1, 8)};
  uint64_t have = 5;
  backend.copy(cells[0].get(), &have, 8);
  backend.copy(cells[1].get(), cells[0].get(), 8);
  have = 0;
  backend.copy(&have, cells[1].get(), 8);
  EXPECT_EQ(have, 5u);
}

// Another library of the process may have done it.
TEST(CudaBackend, AccessThatIsThereAlreadyIsFine) {
  cuda::reset(0, setup_of({{"First", 1 << 20}, {"Second", 1 << 20}}));
  cudaSetDevice(0);
  ASSERT_EQ(cudaDeviceEnablePeerAccess(1, 0), cudaSuccess);
  CudaBackend backend(no_kernels);
  backend.allocate(0, 8);
  backend.allocate(1, 8);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

// What it was given for a queue of which device.
struct StateOf final : QueueState {
  StateOf(int of, DeviceMemory given) : device(of), memory(std::move(given)) {}
  int device;
  DeviceMemory memory;
};

TEST(CudaBackend, QueuesHaveTheStateOfALibraryAndItsMemory) {
  cuda::reset(0, setup_of({{"First", 1 << 20}, {"Second", 1 << 20}}));
  CudaBackend backend(no_kernels, {.description = "a library 1.2",
                                   .queue_bytes = 8192,
                                   .make_state = [](int device, DeviceMemory memory) -> std::unique_ptr<QueueState> {
                                     int current = -1;
                                     cudaGetDevice(&current);
                                     EXPECT_EQ(current, device);
                                     return std::make_unique<StateOf>(device, std::move(memory));
                                   }});
  contains(backend.description(), "runtime 13.0, a library 1.2");
  EXPECT_EQ(backend.queue_bytes(), 8192);
  const auto first = backend.make_queue(1);
  const int64_t of_first = cuda::bytes_in_use();
  EXPECT_GE(of_first, 8192);
  const auto second = backend.make_queue(1);
  EXPECT_EQ(cuda::bytes_in_use(), 2 * of_first);
  EXPECT_EQ(static_cast<StateOf*>(static_cast<CudaQueue&>(*first).state())->device, 1);
  EXPECT_NE(static_cast<CudaQueue&>(*first).state(), static_cast<CudaQueue&>(*second).state());
  const Fault fault = fault_of([&] {
    std::vector<std::unique_ptr<DeviceQueue>> queues;
    while (true) queues.push_back(backend.make_queue(0));
  });
  contains(fault.what, "allocating 8.0 KiB");
}

TEST(CudaBackend, WithoutALibraryQueuesHaveNoState) {
  cuda::reset(0);
  CudaBackend backend(no_kernels);
  EXPECT_EQ(backend.queue_bytes(), 0);
  const auto queue = backend.make_queue(0);
  EXPECT_EQ(static_cast<CudaQueue&>(*queue).state(), nullptr);
  EXPECT_LT(cuda::bytes_in_use(), 8192);
}

TEST(CudaBackend, AddsTheKernelsThatItWasMadeWith) {
  cuda::reset(0);
  KernelTable table;
  CudaBackend([](KernelTable& to) { to.add("append", DeviceKind::cuda, launch_append); }).add_kernels(table);
  EXPECT_EQ(table.find("append", DeviceKind::cuda), &launch_append);
}

}  // namespace
}  // namespace troupe
