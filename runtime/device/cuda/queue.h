// A queue of a CUDA device: a stream, and events for its marks.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/device/queue.h"

namespace troupe {

// Thread-safe as any DeviceQueue. One that fails does so for good: an error of a device stays.
class CudaQueue final : public DeviceQueue {
 public:
  explicit CudaQueue(int device);
  // Does not wait: what is in it still runs, but for calls.
  ~CudaQueue() override;
  CudaQueue(const CudaQueue&) = delete;

  void launch(Kernel kernel, const KernelArgs& args) override;
  uint64_t mark() override;
  bool has_passed(uint64_t mark) const override;
  void wait_for(const DeviceQueue& other, uint64_t mark) override;
  void call(std::function<void()> what) override;

  int device() const { return device_; }
  cudaStream_t stream() const { return stream_; }

 private:
  struct Calls;

  cudaEvent_t free_event();
  bool reap(uint64_t mark) const;

  const int device_;
  cudaStream_t stream_ = nullptr;
  const std::shared_ptr<Calls> calls_;
  // Of marks up to this one all is known: they have been passed.
  mutable std::atomic<uint64_t> passed_{0};
  mutable std::mutex mutex_;                      // of what follows
  mutable std::deque<cudaEvent_t> marks_;         // of the marks after `passed_`, in order
  mutable std::vector<cudaEvent_t> free_events_;  // to be used again
};

}  // namespace troupe
