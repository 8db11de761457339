// The functions of cuda_runtime.h for devices and memory, on the machine.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>

#include "tests/simulated_cuda/calls.h"

namespace troupe::simulated_cuda {
namespace {

constexpr size_t kSharedAtMost = 227 << 10;

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

}  // namespace

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
  return call_here("cudaMalloc", [&](Machine& machine, Lock&, int device) {
    if (const cudaError_t error = refused_in_capture(this_thread().capturing)) return error;
    return machine.allocate(pointer, bytes, device);
  });
}

cudaError_t cudaFree(void* pointer) {
  return call_here("cudaFree", [&](Machine& machine, Lock&, int) {
    if (const cudaError_t error = refused_in_capture(this_thread().capturing)) return error;
    return machine.release(pointer, true);
  });
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
