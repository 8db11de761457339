#include "tests/gpu/device.h"

#include "ops/cuda/cublas_products.h"
#include "ops/cuda/list.h"

namespace troupe {

CudaBackend& gpus() {
  static CudaBackend backend(add_cuda_kernels);
  return backend;
}

CudaBackend& gpus_with_libraries() {
  static CudaBackend backend(add_cuda_kernels, cuda::cublas_products(cuda::installed_cublas_lt()));
  return backend;
}

}  // namespace troupe
