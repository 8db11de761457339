// The functions of cuda_runtime.h for streams, what is put into them, and events, on the machine.

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>

#include "tests/simulated_cuda/calls.h"
#include "tests/simulated_cuda/grid.h"

namespace troupe::simulated_cuda {
namespace {

constexpr unsigned kThreadsPerBlock = 1024;
constexpr size_t kSharedByDefault = 48 << 10;

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

}  // namespace troupe::simulated_cuda

using namespace troupe::simulated_cuda;

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

// What is got may be used in the stream's order; the bytes are taken at once.
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  return call_of("cudaMallocAsync", stream, [&](Machine& machine, Lock&, CUstream_st& of) {
    if (const cudaError_t error = refused_in_capture(this_thread().capturing)) return error;
    return machine.allocate(pointer, bytes, of.device);
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  return call_of("cudaFreeAsync", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    const Block* block = machine.block_of(pointer);
    if (block == nullptr || block->data != pointer || block->device < 0) return cudaErrorInvalidValue;
    return put(machine, lock, of,
               {.kind = Command::Kind::free, .run = [&machine, pointer] { machine.release(pointer, true); }});
  });
}

// In the mode "thread local", which alone is simulated: other threads do as they like meanwhile.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call_of("cudaStreamBeginCapture", stream, [&](Machine&, Lock&, CUstream_st& of) {
    if (mode != cudaStreamCaptureModeThreadLocal || stream == nullptr) return cudaErrorInvalidValue;
    if (of.capture || this_thread().capturing != nullptr) return cudaErrorInvalidValue;
    of.capture.emplace();
    this_thread().capturing = &of;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  return call_of("cudaStreamEndCapture", stream, [&](Machine& machine, Lock&, CUstream_st& of) {
    if (!of.capture || this_thread().capturing != &of) return cudaErrorInvalidValue;
    this_thread().capturing = nullptr;
    const Capture capture = *std::exchange(of.capture, std::nullopt);
    if (capture.spoiled) return cudaErrorStreamCaptureInvalidated;
    auto made = std::make_unique<CUgraph_st>(CUgraph_st{of.device, capture.commands});
    *graph = made.get();
    machine.graphs[*graph] = std::move(made);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long flags) {
  return call_here("cudaGraphInstantiate", [&](Machine& machine, Lock&, int) {
    if (flags != 0 || !machine.graphs.contains(graph)) return cudaErrorInvalidValue;
    auto made = std::make_unique<CUgraphExec_st>(CUgraphExec_st{*graph});
    *ready = made.get();
    machine.ready_graphs[*ready] = std::move(made);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  return call_of("cudaGraphLaunch", stream, [&](Machine& machine, Lock& lock, CUstream_st& of) {
    if (!machine.ready_graphs.contains(graph) || graph->device != of.device) return cudaErrorInvalidValue;
    if (const cudaError_t error = refused_in_capture(of.capture ? &of : nullptr)) return error;
    for (const Command& command : graph->commands) put(machine, lock, of, command);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call("cudaGraphDestroy", [&](Machine& machine, Lock&) {
    return machine.graphs.erase(graph) == 1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  return call("cudaGraphExecDestroy", [&](Machine& machine, Lock&) {
    return machine.ready_graphs.erase(graph) == 1 ? cudaSuccess : cudaErrorInvalidValue;
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
    if (const cudaError_t error = refused_in_capture(of.capture ? &of : nullptr)) return error;
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

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  return call_here("cudaEventCreateWithFlags", [&](Machine& machine, Lock&, int device) {
    auto made = std::make_unique<CUevent_st>();
    made->device = device;
    made->keeps_time = flags == cudaEventDefault;
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

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call_of("cudaEventElapsedTime", end, [&](Machine& machine, Lock&, CUevent_st& last) {
    const CUevent_st* first = machine.find(start);
    const bool both = first != nullptr && first->device == last.device && first->keeps_time && last.keeps_time;
    if (!both || first->last == nullptr || last.last == nullptr) return cudaErrorInvalidResourceHandle;
    if (!first->last->done || !last.last->done) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(last.last->when - first->last->when).count();
    return cudaSuccess;
  });
}
