// A queue of a CUDA device: a stream, and events for its marks. What it has been given once it expects again: runs of
// launches that come a second time are made CUDA graphs (launch_tree.h), which cost the host one launch.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/device/cuda/launch_tree.h"
#include "runtime/device/queue.h"

namespace troupe {

// What kernels keep for a queue from one launch to the next, such as handles of libraries. Used by the queue's launches alone.
class QueueState {
 public:
  virtual ~QueueState() = default;
};

// Thread-safe as any DeviceQueue. One that fails does so for good: an error of a device stays.
class CudaQueue final : public DeviceQueue {
 public:
  enum class Graphs { no, yes };

  explicit CudaQueue(int device, Graphs graphs = Graphs::yes, std::unique_ptr<QueueState> state = nullptr);
  // Does not wait: what is in it still runs, but for calls. (The driver may, where its state frees memory.)
  ~CudaQueue() override;
  CudaQueue(const CudaQueue&) = delete;

  void launch(Kernel kernel, const KernelArgs& args) override;
  uint64_t mark() override;
  bool has_passed(uint64_t mark) const override;
  void wait_for(const DeviceQueue& other, uint64_t mark) override;
  void call(std::function<void()> what) override;
  std::unique_ptr<DeviceStamp> stamp() override;
  void forget() override;

  int device() const { return device_; }
  cudaStream_t stream() const { return stream_; }
  const int64_t* step() const { return step_; }
  QueueState* state() const { return state_.get(); }  // null: it was made without

 private:
  struct Calls;

  // All that was launched is put into the stream.
  void put_run();
  void put_known_run();
  void put_each();
  void put(const LaunchNode& launch);
  bool capture(LaunchNode& end);
  cudaEvent_t free_event();
  bool reap(uint64_t mark) const;

  const int device_;
  const Graphs graphs_;
  const std::unique_ptr<QueueState> state_;
  cudaStream_t stream_ = nullptr;
  int64_t* step_ = nullptr;  // on the device; null when a stream could not be made
  int64_t step_there_ = -1;  // that it was set to last
  LaunchTree launches_;
  const std::shared_ptr<Calls> calls_;
  // Of marks up to this one all is known: they have been passed.
  mutable std::atomic<uint64_t> passed_{0};
  mutable std::mutex mutex_;                      // of what follows
  mutable std::deque<cudaEvent_t> marks_;         // of the marks after `passed_`, in order
  mutable std::vector<cudaEvent_t> free_events_;  // to be used again
};

}  // namespace troupe
