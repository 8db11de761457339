// The CUDA devices of this process.
#pragma once

#include <functional>
#include <mutex>
#include <set>

#include "runtime/device/backend.h"

namespace troupe {

class QueueState;

// What a library that kernels use, where it is there, needs of a backend.
struct KernelLibrary {
  std::string description;  // of the library, or of why there is none: a part of the backend's
  int64_t queue_bytes = 0;  // of the device's memory, for each queue
  // The state of a new queue of the device, which is the current one. Null: queues have none.
  std::function<std::unique_ptr<QueueState>(int device, DeviceMemory memory)> make_state{};
};

class CudaBackend final : public DeviceBackend {
 public:
  using AddKernels = void (*)(KernelTable& table);

  // Looks for devices; without any it does nothing but say why.
  explicit CudaBackend(AddKernels kernels, KernelLibrary library = {});

  std::vector<DeviceInfo> devices() const override;
  std::string description() const override { return description_; }
  DeviceMemory allocate(int device, int64_t bytes) override;
  DeviceMemory allocate_pinned(int64_t bytes) override;
  void copy(void* to, const void* from, int64_t bytes) override;
  void fill_zero(void* to, int64_t bytes) override;
  std::unique_ptr<DeviceQueue> make_queue(int device) override;
  int64_t queue_bytes() const override { return library_.queue_bytes; }
  void add_kernels(KernelTable& table) const override { add_kernels_(table); }

 private:
  void use(int device);

  const AddKernels add_kernels_;
  const KernelLibrary library_;
  std::vector<DeviceInfo> found_;  // what does not change
  std::string description_;
  std::mutex mutex_;
  std::set<int> used_;  // devices whose kernels can reach one another's memory, where the hardware can
};

}  // namespace troupe
