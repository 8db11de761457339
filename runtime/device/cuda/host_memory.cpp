// Host memory that was there before a device reaches it, and copies between it and devices.

#include <cuda_runtime_api.h>

#include "runtime/base/text.h"
#include "runtime/device/cuda/backend.h"
#include "runtime/device/cuda/error.h"
#include "runtime/device/cuda/stream.h"

namespace troupe {
namespace {

void copy_first(const KernelArgs& args, Stream& stream) {
  const TensorView& from = args.inputs[0];
  // A stream's device is the current one, but only its queue knows which.
  int device = 0;
  check(cudaGetDevice(&device), 0, "cudaGetDevice");
  check(cudaMemcpyAsync(args.outputs[0].data, from.data, static_cast<size_t>(from.bytes()), cudaMemcpyDefault,
                        stream_of(stream)),
        device, "cudaMemcpyAsync", "copying " + bytes_text(from.bytes()));
}

}  // namespace

std::shared_ptr<void> CudaBackend::pin(std::byte* memory, int64_t bytes) {
  const std::string doing = "pinning " + bytes_text(bytes) + " of host memory";
  check(cudaHostRegister(memory, static_cast<size_t>(bytes), cudaHostRegisterPortable | cudaHostRegisterMapped), 0,
        "cudaHostRegister", doing);
  std::shared_ptr<void> pinned(memory, [](void* pages) {
    cudaHostUnregister(pages);
    cudaGetLastError();  // of a device that has failed
  });
  // Kernels are given the addresses that the host uses.
  void* there = nullptr;
  check(cudaHostGetDevicePointer(&there, memory, 0), 0, "cudaHostGetDevicePointer", doing);
  if (there != memory) {
    Fault fault;
    fault.what = doing + ": CUDA devices of this host find it at another address, which Troupe does not support";
    throw FaultError(std::move(fault));
  }
  return pinned;
}

Kernel CudaBackend::copy_kernel() const { return copy_first; }

}  // namespace troupe
