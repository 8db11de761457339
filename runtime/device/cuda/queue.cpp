#include "runtime/device/cuda/queue.h"

#include <utility>

#include "runtime/base/check.h"
#include "runtime/device/cuda/error.h"
#include "runtime/device/cuda/stream.h"

namespace troupe {
namespace {

constexpr const char* kEarlierFailure = "a kernel that was put into the queue before, or the device itself, has failed";

}  // namespace

// What is to be called may come up after the queue is gone: CUDA calls it late where the device has failed.
struct CudaQueue::Calls {
  std::mutex mutex;
  bool closed = false;
};

CudaQueue::CudaQueue(int device) : device_(device), calls_(std::make_shared<Calls>()) {
  check(cudaSetDevice(device), device, "cudaSetDevice");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), device, "cudaStreamCreateWithFlags");
}

CudaQueue::~CudaQueue() {
  {
    const std::lock_guard lock(calls_->mutex);
    calls_->closed = true;
  }
  for (const cudaEvent_t event : marks_) cudaEventDestroy(event);
  for (const cudaEvent_t event : free_events_) cudaEventDestroy(event);
  cudaStreamDestroy(stream_);
  cudaGetLastError();  // nobody can be told any more of what has failed
}

void CudaQueue::launch(Kernel kernel, const KernelArgs& args) {
  check(cudaSetDevice(device_), device_, "cudaSetDevice", kEarlierFailure);
  Stream stream(DeviceKind::cuda, this);
  kernel(args, stream);
  check(cudaGetLastError(), device_, "cudaGetLastError", "when a kernel was launched");
}

uint64_t CudaQueue::mark() {
  const std::lock_guard lock(mutex_);
  const cudaEvent_t event = free_event();
  marks_.push_back(event);  // from now on it is this queue's to destroy
  check(cudaEventRecord(event, stream_), device_, "cudaEventRecord", kEarlierFailure);
  return passed_.load(std::memory_order_relaxed) + marks_.size();
}

// Under the lock.
cudaEvent_t CudaQueue::free_event() {
  if (free_events_.empty()) {
    while (!marks_.empty() && reap(passed_.load(std::memory_order_relaxed) + 1)) {
    }
  }
  if (free_events_.empty()) {
    cudaEvent_t made = nullptr;
    check(cudaSetDevice(device_), device_, "cudaSetDevice", kEarlierFailure);
    check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), device_, "cudaEventCreateWithFlags");
    return made;
  }
  const cudaEvent_t event = free_events_.back();
  free_events_.pop_back();
  return event;
}

// Under the lock. Whether a mark after `passed_` has been passed; if so, it and those before it need their events no more.
bool CudaQueue::reap(uint64_t mark) const {
  const uint64_t passed = passed_.load(std::memory_order_relaxed);
  const size_t count = mark - passed;
  CHECK(count <= marks_.size(), mark, passed, marks_.size());
  const cudaError_t status = cudaEventQuery(marks_[count - 1]);
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // it counts as an error of this thread
    return false;
  }
  check(status, device_, "cudaEventQuery", kEarlierFailure);
  const auto end = marks_.begin() + static_cast<std::ptrdiff_t>(count);
  free_events_.insert(free_events_.end(), marks_.begin(), end);
  marks_.erase(marks_.begin(), end);
  passed_.store(mark, std::memory_order_release);
  return true;
}

bool CudaQueue::has_passed(uint64_t mark) const {
  if (passed_.load(std::memory_order_acquire) >= mark) return true;
  const std::lock_guard lock(mutex_);
  return passed_.load(std::memory_order_relaxed) >= mark || reap(mark);
}

void CudaQueue::wait_for(const DeviceQueue& other, uint64_t mark) {
  const auto& from = static_cast<const CudaQueue&>(other);
  if (from.passed_.load(std::memory_order_acquire) >= mark) return;
  // While it is held, the event is not used for another mark. CUDA remembers what the event stands for now.
  const std::lock_guard lock(from.mutex_);
  const uint64_t passed = from.passed_.load(std::memory_order_relaxed);
  if (passed >= mark) return;
  CHECK(mark - passed <= from.marks_.size(), mark, passed, from.marks_.size());
  check(cudaStreamWaitEvent(stream_, from.marks_[mark - passed - 1], 0), device_, "cudaStreamWaitEvent",
        "waiting for " + name_of_device(from.device_));
}

void CudaQueue::call(std::function<void()> what) {
  struct Call {
    std::shared_ptr<Calls> calls;
    std::function<void()> what;
  };
  // Not cudaLaunchHostFunc, which forgets its function when the device fails: who sleeps until it is called would not wake.
  const auto callback = [](cudaStream_t, cudaError_t, void* data) {
    const std::unique_ptr<Call> due(static_cast<Call*>(data));
    const std::lock_guard lock(due->calls->mutex);
    if (!due->calls->closed) due->what();
  };
  auto due = std::make_unique<Call>(calls_, std::move(what));
  check(cudaStreamAddCallback(stream_, callback, due.get(), 0), device_, "cudaStreamAddCallback", kEarlierFailure);
  due.release();
}

cudaStream_t stream_of(const Stream& stream) {
  CHECK(stream.kind() == DeviceKind::cuda && stream.queue() != nullptr, "a CUDA kernel needs a queue of its device");
  return static_cast<const CudaQueue*>(stream.queue())->stream();
}

}  // namespace troupe
