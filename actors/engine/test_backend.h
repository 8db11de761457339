// A backend whose devices are memory that the host can touch only while a kernel runs or the backend copies, so that a host
// that does so itself dies. Kernels run at once.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/device/backend.h"

namespace troupe {

class TestBackend final : public DeviceBackend {
 public:
  explicit TestBackend(int devices) : devices_(devices) {}

  std::vector<DeviceInfo> devices() const override {
    return std::vector<DeviceInfo>(static_cast<size_t>(devices_), {"a test's", 1 << 30, 1 << 30});
  }
  std::string description() const override { return "a test's devices"; }
  DeviceMemory allocate(int device, int64_t bytes) override {
    CHECK(device >= 0 && device < devices_, device);
    bytes_on_devices += bytes;
    const auto size = static_cast<size_t>(bytes);
    void* memory = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED, bytes);
    const std::lock_guard lock(mutex_);
    blocks_[memory] = size;
    return {static_cast<std::byte*>(memory), [this, size](std::byte* block) {
              const std::lock_guard deleting(mutex_);
              blocks_.erase(block);
              munmap(block, size);
            }};
  }
  DeviceMemory allocate_pinned(int64_t bytes) override {
    pinned_bytes += bytes;
    return {new std::byte[static_cast<size_t>(bytes)](), std::default_delete<std::byte[]>()};
  }
  void copy(void* to, const void* from, int64_t bytes) override {
    on_device([&] { std::memcpy(to, from, static_cast<size_t>(bytes)); });
  }
  void fill_zero(void* to, int64_t bytes) override {
    on_device([&] { std::memset(to, 0, static_cast<size_t>(bytes)); });
  }
  std::unique_ptr<DeviceQueue> make_queue(int device) override {
    CHECK(device >= 0 && device < devices_, device);
    ++queues;
    return std::make_unique<Queue>(*this);
  }
  int64_t queue_bytes() const override { return 0; }
  void add_kernels(KernelTable&) const override {}

  int64_t bytes_on_devices = 0;
  int64_t pinned_bytes = 0;
  int queues = 0;
  int forgotten = 0;  // how often a queue was to forget what it has launched

 private:
  class Queue final : public DeviceQueue {
   public:
    explicit Queue(TestBackend& backend) : backend_(backend) {}
    void launch(Kernel kernel, const KernelArgs& args) override {
      Stream stream(DeviceKind::cuda, this);
      backend_.on_device([&] { kernel(args, stream); });
    }
    uint64_t mark() override { return ++marked_; }
    bool has_passed(uint64_t) const override { return true; }
    void wait_for(const DeviceQueue&, uint64_t) override {}
    void call(std::function<void()> what) override { what(); }
    void forget() override { ++backend_.forgotten; }

   private:
    TestBackend& backend_;
    uint64_t marked_ = 0;
  };

  void on_device(const std::function<void()>& what) {
    const std::lock_guard lock(mutex_);
    for (const auto& [block, size] : blocks_) mprotect(block, size, PROT_READ | PROT_WRITE);
    what();
    for (const auto& [block, size] : blocks_) mprotect(block, size, PROT_NONE);
  }

  const int devices_;
  std::mutex mutex_;
  std::map<void*, size_t> blocks_;
};

}  // namespace troupe
