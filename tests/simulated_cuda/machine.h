// The devices behind the simulated CUDA runtime: streams of commands, events, memory, failures.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/random.h"
#include "tests/simulated_cuda/control.h"

namespace troupe::simulated_cuda {

// One recording of an event.
struct Record {
  bool done = false;
  std::chrono::steady_clock::time_point when{};  // it was
};

struct Command {
  enum class Kind { kernel, copy, free, record, wait, host };
  Kind kind;
  std::function<void()> run{};              // of kernels and copies, and what frees
  std::shared_ptr<Record> record{};         // to set, or to wait for
  std::function<void(cudaError_t)> host{};  // called without the lock
  bool called_after_failure = false;
};

// What a stream has been given since its capture began.
struct Capture {
  std::vector<Command> commands{};
  bool spoiled = false;
};

}  // namespace troupe::simulated_cuda

struct CUgraph_st {
  int device = 0;
  std::vector<troupe::simulated_cuda::Command> commands{};
};

struct CUgraphExec_st : CUgraph_st {};

struct CUstream_st {
  int device = 0;
  uint64_t number = 0;  // in the order of making
  std::deque<troupe::simulated_cuda::Command> commands{};
  bool busy = false;       // its host function runs
  bool destroyed = false;  // goes when all has run
  std::optional<troupe::simulated_cuda::Capture> capture{};
};

struct CUevent_st {
  int device = 0;
  bool keeps_time = false;
  std::shared_ptr<troupe::simulated_cuda::Record> last{};  // null: never recorded
};

namespace troupe::simulated_cuda {

using Lock = std::unique_lock<std::mutex>;

// A block of memory that devices can reach. Pages of devices are closed to the host while nothing runs.
struct Block {
  std::byte* data = nullptr;
  size_t bytes = 0;
  size_t mapped = 0;
  int device = -1;  // -1: of the host
};

struct Device {
  SimulatedDevice what;
  cudaError_t failed = cudaSuccess;
  std::set<int> peers{};  // that its kernels may reach
  int64_t bytes = 0;      // in use
  cudaError_t kernel_error = cudaSuccess;
  int kernels_until_error = 0;
  std::unique_ptr<CUstream_st> default_stream{};
};

// Of the process, as the runtime is. Everything under `mutex`.
class Machine {
 public:
  static Machine& the();
  Machine() { reset(0, {}); }

  void reset(uint64_t seed, Setup setup);

  // Something happens. False when nothing can now.
  bool step(Lock& lock);
  // Until it is true; `done` must come about.
  void run_until(Lock& lock, const std::function<bool()>& done);
  // Some of what can happen does, as it might while the host does something.
  void some_time_passes(Lock& lock, int64_t at_most);

  void put(CUstream_st& stream, Command command);
  CUstream_st* find(cudaStream_t handle);  // null: there is none
  CUevent_st* find(cudaEvent_t handle);

  cudaError_t allocate(void** pointer, size_t bytes, int device);
  cudaError_t release(void* pointer, bool of_device);
  const Block* block_of(const void* pointer) const;  // null: ordinary memory of the host

  std::mutex mutex;
  std::condition_variable changed;
  Random random{0};
  Setup setup;
  uint64_t generation = 0;
  uint64_t streams_made = 0;
  std::vector<Device> devices;
  std::map<cudaStream_t, std::unique_ptr<CUstream_st>> streams;
  std::map<cudaEvent_t, std::unique_ptr<CUevent_st>> events;
  std::map<cudaGraph_t, std::unique_ptr<CUgraph_st>> graphs;
  std::map<cudaGraphExec_t, std::unique_ptr<CUgraphExec_st>> ready_graphs;
  std::map<const std::byte*, Block> blocks;
  std::map<std::string, std::deque<std::pair<int, cudaError_t>>> failing_calls;
  std::map<const void*, int> shared_memory;  // dynamic, by kernel, where more than by default is allowed
  bool ignores_waits = false;
  int64_t kernels_run = 0;
  std::map<std::string, int64_t> calls;  // by function

 private:
  void happen(CUstream_st& stream, Lock& lock);
  void run_kernel(int device, const std::function<void()>& body);
  std::vector<CUstream_st*> all_streams() const;
  // With the memory of these devices, or of all, open.
  void run_open(const std::set<int>& reached, const std::function<void()>& body) const;
};

// Whether this thread is in a host function of a stream, where no call is permitted.
extern thread_local bool in_host_function;

}  // namespace troupe::simulated_cuda
