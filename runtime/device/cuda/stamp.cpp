#include "runtime/device/cuda/stamp.h"

#include "runtime/device/cuda/error.h"

namespace troupe {

CudaStamp::CudaStamp(int device, cudaStream_t stream) : device_(device) {
  check(cudaEventCreateWithFlags(&event_, cudaEventDefault), device, "cudaEventCreateWithFlags");
  const cudaError_t status = cudaEventRecord(event_, stream);
  if (status != cudaSuccess) cudaEventDestroy(event_);
  check(status, device, "cudaEventRecord");
}

CudaStamp::~CudaStamp() {
  cudaEventDestroy(event_);
  cudaGetLastError();  // of a device that has failed
}

double CudaStamp::seconds_since(const DeviceStamp& earlier) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, static_cast<const CudaStamp&>(earlier).event_, event_), device_,
        "cudaEventElapsedTime");
  return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace troupe
