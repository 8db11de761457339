// The functions of cuda_runtime.h, on the machine.

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "tests/simulated_cuda/grid.h"
#include "tests/simulated_cuda/machine.h"

namespace troupe::simulated_cuda {
namespace {

constexpr int kRuntimeVersion = 13000;
constexpr unsigned kThreadsPerBlock = 1024;
constexpr size_t kSharedByDefault = 48 << 10;
constexpr size_t kSharedAtMost = 227 << 10;

struct Thread {
  uint64_t generation = 0;
  int device = 0;
  cudaError_t last = cudaSuccess;
};

// Under the lock.
Thread& this_thread() {
  thread_local Thread thread;
  if (thread.generation != Machine::the().generation) thread = {Machine::the().generation};
  return thread;
}

bool driver_is_enough() { return Machine::the().setup.driver / 1000 >= kRuntimeVersion / 1000; }

cudaError_t injected(const std::string& call) {
  auto& failing = Machine::the().failing_calls;
  const auto it = failing.find(call);
  if (it == failing.end() || it->second.empty()) return cudaSuccess;
  if (--it->second.front().first > 0) return cudaSuccess;
  const cudaError_t error = it->second.front().second;
  it->second.pop_front();
  return error;
}

cudaError_t failure_of(int device) { return Machine::the().devices[static_cast<size_t>(device)].failed; }

cudaError_t noted(cudaError_t status) {
  if (status != cudaSuccess) this_thread().last = status;
  return status;
}

// A call that needs no device.
template <class Body>
cudaError_t call(const char* name, Body&& body) {
  Machine& machine = Machine::the();
  Lock lock(machine.mutex);
  if (in_host_function) return cudaErrorNotPermitted;
  if (const cudaError_t error = injected(name)) return noted(error);
  if (!driver_is_enough()) return noted(cudaErrorInsufficientDriver);
  if (machine.devices.empty()) return noted(cudaErrorNoDevice);
  return noted(body(machine, lock));
}

// One that uses the thread's current device.
template <class Body>
cudaError_t call_here(const char* name, Body&& body) {
  return call(name, [&](Machine& machine, Lock& lock) {
    const int device = this_thread().device;
    if (const cudaError_t error = failure_of(device)) return error;
    return body(machine, lock, device);
  });
}

// One that uses a stream or an event.
template <class Handle, class Body>
cudaError_t call_of(const char* name, Handle handle, Body&& body) {
  return call(name, [&](Machine& machine, Lock& lock) {
    auto* of = machine.find(handle);
    if constexpr (std::is_same_v<Handle, cudaStream_t>) {
      if (handle == nullptr) of = machine.devices[static_cast<size_t>(this_thread().device)].default_stream.get();
    }
    if (of == nullptr) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t error = failure_of(of->device)) return error;
    return body(machine, lock, *of);
  });
}

cudaError_t put(Machine& machine, Lock& lock, CUstream_st& stream, Command command) {
  machine.put(stream, std::move(command));
  if (machine.random.chance(0.2)) machine.some_time_passes(lock, 2);
  return cudaSuccess;
}

// Whether all of the bytes lie in one block, or none of them does.
bool is_whole(const Machine& machine, const void* pointer, size_t bytes) {
  const Block* block = machine.block_of(pointer);
  return block == nullptr || static_cast<const std::byte*>(pointer) + bytes <= block->data + block->bytes;
}

bool fits(cudaMemcpyKind kind, bool from_device, bool to_device) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !from_device && !to_device;
    case cudaMemcpyHostToDevice:
      return !from_device && to_device;
    case cudaMemcpyDeviceToHost:
      return from_device && !to_device;
    case cudaMemcpyDeviceToDevice:
      return from_device && to_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

cudaError_t put_copy(Machine& machine, Lock& lock, CUstream_st& stream, void* to, const void* from, size_t bytes,
                     cudaMemcpyKind kind) {
  if (!is_whole(machine, to, bytes) || !is_whole(machine, from, bytes)) return cudaErrorInvalidValue;
  const auto on_device = [&](const void* p) {
    const Block* block = machine.block_of(p);
    return block != nullptr && block->device >= 0;
  };
  if (!fits(kind, on_device(from), on_device(to))) return cudaErrorInvalidMemcpyDirection;
  for (const void* p : {static_cast<const void*>(to), from}) {
    if (!on_device(p)) continue;
    if (const cudaError_t error = failure_of(machine.block_of(p)->device)) return error;
  }
  return put(machine, lock, stream, {.kind = Command::Kind::copy, .run = [=] { std::memmove(to, from, bytes); }});
}

cudaError_t put_set(Machine& machine, Lock& lock, CUstream_st& stream, void* to, int value, size_t bytes) {
  if (machine.block_of(to) == nullptr || !is_whole(machine, to, bytes)) return cudaErrorInvalidValue;
  return put(machine, lock, stream, {.kind = Command::Kind::copy, .run = [=] { std::memset(to, value, bytes); }});
}

// Until all that is in the stream has happened.
cudaError_t drain(Machine& machine, Lock& lock, CUstream_st& stream) {
  machine.run_until(lock, [&] { return stream.commands.empty() && !stream.busy; });
  return failure_of(stream.device);
}

}  // namespace

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body) {
  return call_of("cudaLaunchKernelExC", config.stream, [&](Machine& machine, Lock& lock, CUstream_st& stream) {
    const dim3 grid = config.gridDim;
    const dim3 block = config.blockDim;
    const size_t shared = config.dynamicSmemBytes;
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || grid.y > 65535 || grid.z > 65535 ||
        threads > kThreadsPerBlock) {
      return cudaErrorInvalidConfiguration;
    }
    const auto allowed = machine.shared_memory.find(kernel);
    const size_t at_most =
        allowed == machine.shared_memory.end() ? kSharedByDefault : static_cast<size_t>(allowed->second);
    if (shared > std::max(at_most, kSharedByDefault)) return cudaErrorInvalidValue;
    if (stream.device != this_thread().device) return cudaErrorInvalidResourceHandle;
    return put(machine, lock, stream,
               {.kind = Command::Kind::kernel, .run = [grid, block, shared, body = std::move(body)] {
                  simulated::run_grid(grid, block, shared, body);
                }});
  });
}

cudaError_t allow_shared_memory(const void* kernel, int bytes) {
  return call_here("cudaFuncSetAttribute", [&](Machine& machine, Lock&, int) {
    if (bytes < 0 || static_cast<size_t>(bytes) > kSharedAtMost) return cudaErrorInvalidValue;
    machine.shared_memory[kernel] = bytes;
    return cudaSuccess;
  });
}

}  // namespace troupe::simulated_cuda

using namespace troupe::simulated_cuda;

cudaError_t cudaGetLastError() {
  const Lock lock(Machine::the().mutex);
  Thread& thread = this_thread();
  const cudaError_t last = std::exchange(thread.last, cudaSuccess);
  const bool failed = !Machine::the().devices.empty() && failure_of(thread.device) != cudaSuccess;
  return failed ? failure_of(thread.device) : last;
}

cudaError_t cudaDriverGetVersion(int* version) {
  const Lock lock(Machine::the().mutex);
  *version = Machine::the().setup.driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kRuntimeVersion;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  return call("cudaGetDeviceCount", [&](Machine& machine, Lock&) {
    *count = static_cast<int>(machine.devices.size());
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call("cudaGetDeviceProperties", [&](Machine& machine, Lock&) {
    if (device < 0 || device >= std::ssize(machine.devices)) return cudaErrorInvalidDevice;
    const SimulatedDevice& what = machine.devices[static_cast<size_t>(device)].what;
    *properties = {};
    what.name.copy(properties->name, sizeof(properties->name) - 1);
    properties->totalGlobalMem = static_cast<size_t>(what.memory_bytes);
    properties->sharedMemPerBlockOptin = kSharedAtMost;
    properties->major = 9;
    properties->multiProcessorCount = 132;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call("cudaSetDevice", [&](Machine& machine, Lock&) {
    if (device < 0 || device >= std::ssize(machine.devices)) return cudaErrorInvalidDevice;
    this_thread().device = device;
    return failure_of(device);
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call("cudaGetDevice", [&](Machine&, Lock&) {
    *device = this_thread().device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call_here("cudaDeviceSynchronize", [](Machine& machine, Lock& lock, int device) {
    const auto is_idle = [&](const CUstream_st& stream) {
      return stream.device != device || (stream.commands.empty() && !stream.busy);
    };
    machine.run_until(lock, [&] {
      return is_idle(*machine.devices[static_cast<size_t>(device)].default_stream) &&
             std::all_of(machine.streams.begin(), machine.streams.end(), [&](auto& s) { return is_idle(*s.second); });
    });
    return failure_of(device);
  });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return call("cudaDeviceCanAccessPeer", [&](Machine& machine, Lock&) {
    const auto count = std::ssize(machine.devices);
    if (device < 0 || peer < 0 || device >= count || peer >= count) return cudaErrorInvalidDevice;
    *can = machine.setup.peers && device != peer;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned int flags) {
  return call_here("cudaDeviceEnablePeerAccess", [&](Machine& machine, Lock&, int device) {
    if (flags != 0) return cudaErrorInvalidValue;
    if (peer < 0 || peer >= std::ssize(machine.devices) || peer == device) return cudaErrorInvalidDevice;
    if (!machine.setup.peers) return cudaErrorPeerAccessUnsupported;
    const bool added = machine.devices[static_cast<size_t>(device)].peers.insert(peer).second;
    return added ? cudaSuccess : cudaErrorPeerAccessAlreadyEnabled;
  });
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return call_here("cudaMalloc",
                   [&](Machine& machine, Lock&, int device) { return machine.allocate(pointer, bytes, device); });
}

cudaError_t cudaFree(void* pointer) {
  return call_here("cudaFree", [&](Machine& machine, Lock&, int) { return machine.release(pointer, true); });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return call_here("cudaMallocHost",
                   [&](Machine& machine, Lock&, int) { return machine.allocate(pointer, bytes, -1); });
}

cudaError_t cudaFreeHost(void* pointer) {
  return call_here("cudaFreeHost", [&](Machine& machine, Lock&, int) { return machine.release(pointer, false); });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call_here("cudaMemGetInfo", [&](Machine& machine, Lock&, int device) {
    const Device& of = machine.devices[static_cast<size_t>(device)];
    *total = static_cast<size_t>(of.what.memory_bytes);
    *free = static_cast<size_t>(of.what.memory_bytes - of.bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call("cudaPointerGetAttributes", [&](Machine& machine, Lock&) {
    const Block* block = machine.block_of(pointer);
    void* data = const_cast<void*>(pointer);
    if (block == nullptr) {
      *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, data};
    } else if (block->device < 0) {
      *attributes = {cudaMemoryTypeHost, 0, data, data};
    } else {
      *attributes = {cudaMemoryTypeDevice, block->device, data, nullptr};
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call_of("cudaMemcpyAsync", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    return put_copy(machine, lock, of, to, from, bytes, kind);
  });
}

// To a device it may return before the bytes are there.
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call_of("cudaMemcpy", cudaStream_t(), [&](Machine& machine, Lock& lock, CUstream_st& of) {
    if (const cudaError_t error = put_copy(machine, lock, of, to, from, bytes, kind)) return error;
    const Block* block = machine.block_of(to);
    const Block* source = machine.block_of(from);
    const bool later = block != nullptr && block->device >= 0 && source != nullptr && source->device >= 0;
    return later ? cudaSuccess : drain(machine, lock, of);
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return call_of("cudaMemsetAsync", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    return put_set(machine, lock, of, to, value, bytes);
  });
}

// Returns before the bytes are set.
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return call_of("cudaMemset", cudaStream_t(), [&](Machine& machine, Lock& lock, CUstream_st& of) {
    return put_set(machine, lock, of, to, value, bytes);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int flags) {
  return call_here("cudaStreamCreateWithFlags", [&](Machine& machine, Lock&, int device) {
    if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;  // others are not simulated
    auto made = std::make_unique<CUstream_st>();
    made->device = device;
    made->number = machine.streams_made++;
    *stream = made.get();
    machine.streams[*stream] = std::move(made);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call_of("cudaStreamDestroy", stream, [&](Machine& machine, Lock&, CUstream_st& of) {
    of.destroyed = true;
    if (of.commands.empty() && !of.busy) machine.streams.erase(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call_of("cudaStreamQuery", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    machine.some_time_passes(lock, 3);
    if (const cudaError_t error = failure_of(of.device)) return error;
    return of.commands.empty() && !of.busy ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call_of("cudaStreamSynchronize", stream,
                 [&](Machine& machine, Lock& lock, CUstream_st& of) { return drain(machine, lock, of); });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
  return call_of("cudaStreamWaitEvent", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    if (flags != 0) return cudaErrorInvalidValue;
    const CUevent_st* awaited = machine.find(event);
    if (awaited == nullptr) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t error = failure_of(awaited->device)) return error;
    if (awaited->last == nullptr) return cudaSuccess;
    return put(machine, lock, of, {.kind = Command::Kind::wait, .record = awaited->last});
  });
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void* data, unsigned int flags) {
  return call_of("cudaStreamAddCallback", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    if (flags != 0) return cudaErrorInvalidValue;
    return put(machine, lock, of,
               {.kind = Command::Kind::host,
                .host = [=](cudaError_t status) { callback(stream, status, data); },
                .called_after_failure = true});
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return call_of("cudaLaunchHostFunc", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    return put(machine, lock, of, {.kind = Command::Kind::host, .host = [=](cudaError_t) { function(data); }});
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  return call_here("cudaEventCreateWithFlags", [&](Machine& machine, Lock&, int device) {
    auto made = std::make_unique<CUevent_st>();
    made->device = device;
    *event = made.get();
    machine.events[*event] = std::move(made);
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call_of("cudaEventDestroy", event, [&](Machine& machine, Lock&, CUevent_st&) {
    machine.events.erase(event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call_of("cudaEventRecord", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    CUevent_st* recorded = machine.find(event);
    if (recorded == nullptr || recorded->device != of.device) return cudaErrorInvalidResourceHandle;
    recorded->last = std::make_shared<Record>();
    return put(machine, lock, of, {.kind = Command::Kind::record, .record = recorded->last});
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call_of("cudaEventQuery", event, [&](Machine& machine, Lock& lock, CUevent_st& of) {
    machine.some_time_passes(lock, 3);
    if (const cudaError_t error = failure_of(of.device)) return error;
    return of.last == nullptr || of.last->done ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call_of("cudaEventSynchronize", event, [&](Machine& machine, Lock& lock, CUevent_st& of) {
    machine.run_until(lock, [&] { return of.last == nullptr || of.last->done; });
    return failure_of(of.device);
  });
}
