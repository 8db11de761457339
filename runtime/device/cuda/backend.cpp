#include "runtime/device/cuda/backend.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/text.h"
#include "runtime/device/cuda/error.h"
#include "runtime/device/cuda/queue.h"

namespace troupe {
namespace {

// CUDA's 13020 is 13.2.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string why_there_are_none(cudaError_t error, int driver, int runtime) {
  const std::string none = "no CUDA device: ";
  if (driver == 0) {
    return none + "no NVIDIA driver was found; install one for CUDA " + version_text(runtime / 1000 * 1000) +
           " or newer (in a container: give it the GPUs)";
  }
  if (error == cudaErrorInsufficientDriver) {
    return none + "the NVIDIA driver is for CUDA " + version_text(driver) + ", but Troupe was built with " +
           version_text(runtime) + " and needs one for " + version_text(runtime / 1000 * 1000) + " or newer";
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return none + "the driver shows none" +
           (visible == nullptr ? std::string() : " (CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "')");
  }
  return none + text_of(error, "cudaGetDeviceCount");
}

// Of device memory, its device; -1 for memory of the host.
int device_of(const void* pointer) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, pointer), 0, "cudaPointerGetAttributes");
  return attributes.type == cudaMemoryTypeDevice ? attributes.device : -1;
}

CudaQueue::Graphs graphs_of_environment() {
  const char* set = std::getenv("TROUPE_CUDA_GRAPHS");
  const std::string value = set == nullptr ? "1" : set;
  if (value == "0") return CudaQueue::Graphs::no;
  if (value == "1") return CudaQueue::Graphs::yes;
  throw PlanError("the environment's TROUPE_CUDA_GRAPHS='" + value +
                  "' must be 0, which launches each kernel by itself, or 1");
}

void set_device(int device) { check(cudaSetDevice(device), device, "cudaSetDevice"); }

// The default stream of the current device, through which nothing else goes.
void finish(int device, const std::string& doing) {
  check(cudaStreamSynchronize(cudaStream_t()), device, "cudaStreamSynchronize", doing);
}

}  // namespace

CudaBackend::CudaBackend(AddKernels kernels, KernelLibrary library)
    : add_kernels_(kernels), library_(std::move(library)) {
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();
    description_ = why_there_are_none(error, driver, runtime);
    return;
  }
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device), device, "cudaGetDeviceProperties");
    found_.push_back({properties.name, static_cast<int64_t>(properties.totalGlobalMem), 0});
  }
  description_ =
      std::to_string(count) + (count == 1 ? " CUDA device: " : " CUDA devices: ") +
      join(found_, ", ", [](const DeviceInfo& d) { return d.name + " (" + bytes_text(d.memory_bytes) + ")"; }) +
      "; driver " + version_text(driver) + ", runtime " + version_text(runtime) +
      (library_.description.empty() ? "" : ", " + library_.description);
}

std::vector<DeviceInfo> CudaBackend::devices() const {
  std::vector<DeviceInfo> now = found_;
  for (int device = 0; device < std::ssize(now); ++device) {
    set_device(device);
    size_t free = 0;
    size_t total = 0;
    check(cudaMemGetInfo(&free, &total), device, "cudaMemGetInfo");
    now[static_cast<size_t>(device)].free_bytes = static_cast<int64_t>(free);
  }
  return now;
}

// Makes it the current device. The first time, its kernels get access to the memory of all that are used, and those to its.
void CudaBackend::use(int device) {
  CHECK(device >= 0 && device < std::ssize(found_), device, found_.size());
  const std::lock_guard lock(mutex_);
  if (!used_.contains(device)) {
    const auto give_access = [](int to, int memory_of) {
      int can = 0;
      check(cudaDeviceCanAccessPeer(&can, to, memory_of), to, "cudaDeviceCanAccessPeer");
      if (can == 0) return;
      set_device(to);
      const cudaError_t status = cudaDeviceEnablePeerAccess(memory_of, 0);
      if (status == cudaErrorPeerAccessAlreadyEnabled) {
        cudaGetLastError();  // by somebody else in this process
      } else {
        check(status, to, "cudaDeviceEnablePeerAccess", "for the memory of " + name_of_device(memory_of));
      }
    };
    for (const int other : used_) {
      give_access(device, other);
      give_access(other, device);
    }
    used_.insert(device);
  }
  set_device(device);
}

DeviceMemory CudaBackend::allocate(int device, int64_t bytes) {
  use(device);
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (status != cudaSuccess) {
    cudaGetLastError();
    size_t free = 0;
    size_t total = 0;
    std::string doing = "allocating " + bytes_text(bytes);
    if (cudaMemGetInfo(&free, &total) == cudaSuccess) {
      doing += ", where " + bytes_text(static_cast<int64_t>(free)) + " of " + bytes_text(static_cast<int64_t>(total)) +
               " are free";
    }
    check(status, device, "cudaMalloc", doing);
  }
  DeviceMemory memory(static_cast<std::byte*>(data), [device](std::byte* block) {
    cudaSetDevice(device);
    cudaFree(block);
    cudaGetLastError();  // a device that has failed frees nothing
  });
  fill_zero(memory.get(), bytes);
  return memory;
}

DeviceMemory CudaBackend::allocate_pinned(int64_t bytes) {
  void* data = nullptr;
  check(cudaMallocHost(&data, static_cast<size_t>(bytes)), 0, "cudaMallocHost",
        "allocating " + bytes_text(bytes) + " of pinned host memory");
  if (data != nullptr) std::memset(data, 0, static_cast<size_t>(bytes));
  return {static_cast<std::byte*>(data), [](std::byte* block) {
            cudaFreeHost(block);
            cudaGetLastError();
          }};
}

void CudaBackend::copy(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  const int target = device_of(to);
  const int device = target >= 0 ? target : std::max(device_of(from), 0);
  set_device(device);
  const std::string doing = "copying " + bytes_text(bytes);
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, cudaStream_t()), device,
        "cudaMemcpyAsync", doing);
  finish(device, doing);
}

void CudaBackend::fill_zero(void* to, int64_t bytes) {
  if (bytes == 0) return;
  const int device = device_of(to);
  if (device < 0) {
    std::memset(to, 0, static_cast<size_t>(bytes));
    return;
  }
  set_device(device);
  const std::string doing = "filling " + bytes_text(bytes) + " with zeros";
  check(cudaMemsetAsync(to, 0, static_cast<size_t>(bytes), cudaStream_t()), device, "cudaMemsetAsync", doing);
  finish(device, doing);
}

std::unique_ptr<DeviceQueue> CudaBackend::make_queue(int device) {
  use(device);
  const CudaQueue::Graphs graphs = graphs_of_environment();
  std::unique_ptr<QueueState> state;
  if (library_.make_state) state = library_.make_state(device, allocate(device, library_.queue_bytes));
  return std::make_unique<CudaQueue>(device, graphs, std::move(state));
}

}  // namespace troupe
