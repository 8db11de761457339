// What every function of the simulated CUDA runtime begins with: the lock, failures that tests have asked for, those of the
// driver, of the device and of what a call is about.
#pragma once

#include <cuda_runtime.h>

#include <string>
#include <type_traits>
#include <utility>

#include "tests/simulated_cuda/machine.h"

namespace troupe::simulated_cuda {

constexpr int kRuntimeVersion = 13000;

struct Thread {
  uint64_t generation = 0;
  int device = 0;
  cudaError_t last = cudaSuccess;
  CUstream_st* capturing = nullptr;  // what this thread puts into a graph
};

// Under the lock.
inline Thread& this_thread() {
  thread_local Thread thread;
  if (thread.generation != Machine::the().generation) thread = {Machine::the().generation};
  return thread;
}

inline bool driver_is_enough() { return Machine::the().setup.driver / 1000 >= kRuntimeVersion / 1000; }

inline cudaError_t injected(const std::string& call) {
  auto& failing = Machine::the().failing_calls;
  const auto it = failing.find(call);
  if (it == failing.end() || it->second.empty()) return cudaSuccess;
  if (--it->second.front().first > 0) return cudaSuccess;
  const cudaError_t error = it->second.front().second;
  it->second.pop_front();
  return error;
}

inline cudaError_t failure_of(int device) { return Machine::the().devices[static_cast<size_t>(device)].failed; }

inline cudaError_t noted(cudaError_t status) {
  if (status != cudaSuccess) this_thread().last = status;
  return status;
}

// A call that needs no device.
template <class Body>
cudaError_t call(const char* name, Body&& body) {
  Machine& machine = Machine::the();
  Lock lock(machine.mutex);
  ++machine.calls[name];
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

// What must not be called while a stream is captured: it spoils the graph.
inline cudaError_t refused_in_capture(CUstream_st* capturing) {
  if (capturing == nullptr) return cudaSuccess;
  capturing->capture->spoiled = true;
  return cudaErrorStreamCaptureUnsupported;
}

inline cudaError_t put(Machine& machine, Lock& lock, CUstream_st& stream, Command command) {
  if (stream.capture) {
    const bool can = command.kind == Command::Kind::kernel || command.kind == Command::Kind::copy;
    if (!can || this_thread().capturing != &stream) return refused_in_capture(&stream);
    stream.capture->commands.push_back(std::move(command));
    return cudaSuccess;
  }
  machine.put(stream, std::move(command));
  if (machine.random.chance(0.2)) machine.some_time_passes(lock, 2);
  return cudaSuccess;
}

// Until all that is in the stream has happened.
inline cudaError_t drain(Machine& machine, Lock& lock, CUstream_st& stream) {
  if (const cudaError_t error = refused_in_capture(stream.capture ? &stream : nullptr)) return error;
  machine.run_until(lock, [&] { return stream.commands.empty() && !stream.busy; });
  return failure_of(stream.device);
}

}  // namespace troupe::simulated_cuda
