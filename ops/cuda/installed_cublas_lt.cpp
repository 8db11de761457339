// What a program on a GPU links; tests link a simulated library in its place.

#include <cuda_runtime.h>

#include "ops/cuda/cublas_lt.h"

namespace troupe::cuda {

CublasLtFound installed_cublas_lt() {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) return {nullptr, "no cuBLASLt: there is no NVIDIA driver"};  // loading it would take half a second
  return load_cublas_lt(cublas_lt_folders(), driver);
}

}  // namespace troupe::cuda
