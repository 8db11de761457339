#include "runtime/device/cuda/queue.h"

#include <utility>

#include "runtime/base/check.h"
#include "runtime/device/cuda/error.h"
#include "runtime/device/cuda/stamp.h"
#include "runtime/device/cuda/step.h"
#include "runtime/device/cuda/stream.h"

namespace troupe {
namespace {

// With more in one graph the device would wait too long for the first of them.
constexpr size_t kLongestRun = 512;

constexpr const char* kEarlierFailure = "a kernel that was put into the queue before, or the device itself, has failed";

}  // namespace

// What is to be called may come up after the queue is gone: CUDA calls it late where the device has failed.
struct CudaQueue::Calls {
  std::mutex mutex;
  bool closed = false;
};

CudaQueue::CudaQueue(int device, Graphs graphs, std::unique_ptr<QueueState> state)
    : device_(device), graphs_(graphs), state_(std::move(state)), calls_(std::make_shared<Calls>()) {
  check(cudaSetDevice(device), device, "cudaSetDevice");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), device, "cudaStreamCreateWithFlags");
  void* step = nullptr;
  const cudaError_t status = cudaMallocAsync(&step, sizeof(int64_t), stream_);
  if (status != cudaSuccess) cudaStreamDestroy(stream_);
  check(status, device, "cudaMallocAsync");
  step_ = static_cast<int64_t*>(step);
}

CudaQueue::~CudaQueue() {
  {
    const std::lock_guard lock(calls_->mutex);
    calls_->closed = true;
  }
  for (const cudaEvent_t event : marks_) cudaEventDestroy(event);
  for (const cudaEvent_t event : free_events_) cudaEventDestroy(event);
  cudaFreeAsync(step_, stream_);  // behind all that reads it
  cudaStreamDestroy(stream_);
  cudaGetLastError();  // nobody can be told any more of what has failed
}

void CudaQueue::launch(Kernel kernel, const KernelArgs& args) {
  check(cudaSetDevice(device_), device_, "cudaSetDevice", kEarlierFailure);
  if (args.firing.step != step_there_) {
    put_run();
    set_step(step_, args.firing.step, stream_);
    check(cudaGetLastError(), device_, "cudaGetLastError", "when the step was set");
    step_there_ = args.firing.step;
  }
  if (graphs_ == Graphs::no) return put(LaunchNode(nullptr, kernel, args));
  if (!launches_.follow(kernel, args)) {
    try {
      if (launches_.is_known()) put_each();
      put(launches_.grow(kernel, args));
    } catch (...) {
      launches_.abandon_run();
      throw;
    }
  }
  if (launches_.length() == kLongestRun) put_run();
}

void CudaQueue::put(const LaunchNode& launch) {
  Stream stream(DeviceKind::cuda, this);
  launch.run(stream);
  check(cudaGetLastError(), device_, "cudaGetLastError", "when a kernel was launched");
}

void CudaQueue::put_each() {
  for (const LaunchNode* launch : launches_.path()) put(*launch);
}

void CudaQueue::put_run() {
  if (launches_.length() == 0) return;
  try {
    if (launches_.is_known()) put_known_run();
  } catch (...) {
    launches_.abandon_run();
    throw;
  }
  launches_.end_run();
}

void CudaQueue::put_known_run() {
  check(cudaSetDevice(device_), device_, "cudaSetDevice", kEarlierFailure);
  LaunchNode& end = launches_.at();
  if (end.graph != nullptr || capture(end)) {
    check(cudaGraphLaunch(end.graph, stream_), device_, "cudaGraphLaunch", kEarlierFailure);
  } else {
    put_each();
  }
}

// Makes the graph of the run. False where there can be none: then its launches go one by one, for good.
bool CudaQueue::capture(LaunchNode& end) {
  if (end.has_no_graph || launches_.length() == 1) return false;
  if (cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
    bool all = true;
    try {
      put_each();
    } catch (const FaultError&) {
      all = false;  // it is told when the launch is put by itself
    }
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) {
      if (all && cudaGraphInstantiate(&end.graph, graph, 0) != cudaSuccess) end.graph = nullptr;
      cudaGraphDestroy(graph);
    }
  }
  cudaGetLastError();  // of a device that has failed the next call tells too
  end.has_no_graph = end.graph == nullptr;
  return !end.has_no_graph;
}

uint64_t CudaQueue::mark() {
  put_run();
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
  put_run();
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
  put_run();
  auto due = std::make_unique<Call>(calls_, std::move(what));
  check(cudaStreamAddCallback(stream_, callback, due.get(), 0), device_, "cudaStreamAddCallback", kEarlierFailure);
  due.release();
}

std::unique_ptr<DeviceStamp> CudaQueue::stamp() {
  put_run();
  check(cudaSetDevice(device_), device_, "cudaSetDevice", kEarlierFailure);
  return std::make_unique<CudaStamp>(device_, stream_);
}

void CudaQueue::forget() {
  launches_.abandon_run();  // that a device which has failed has not taken
  launches_.forget();
}

const CudaQueue& queue_of(const Stream& stream) {
  CHECK(stream.kind() == DeviceKind::cuda && stream.queue() != nullptr, "a CUDA kernel needs a queue of its device");
  return static_cast<const CudaQueue&>(*stream.queue());
}

cudaStream_t stream_of(const Stream& stream) { return queue_of(stream).stream(); }
const int64_t* step_of(const Stream& stream) { return queue_of(stream).step(); }

}  // namespace troupe
