#include "tests/gpu/device.h"

#include "ops/cuda/list.h"

namespace troupe {

CudaBackend& gpus() {
  static CudaBackend backend(add_cuda_kernels);
  return backend;
}

}  // namespace troupe
