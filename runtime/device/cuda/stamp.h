// When a stream has come somewhere, by CUDA events.
#pragma once

#include <cuda_runtime.h>

#include "runtime/device/queue.h"

namespace troupe {

class CudaStamp final : public DeviceStamp {
 public:
  // Behind what is in the stream, of the current device. FaultError.
  CudaStamp(int device, cudaStream_t stream);
  ~CudaStamp() override;
  CudaStamp(const CudaStamp&) = delete;

  double seconds_since(const DeviceStamp& earlier) const override;

 private:
  const int device_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace troupe
