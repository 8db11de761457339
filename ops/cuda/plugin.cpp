// The CUDA backend with its kernels as a library that is loaded where it is wanted (runtime/device/load_backend.h).

#include "ops/cuda/cublas_products.h"
#include "ops/cuda/list.h"
#include "runtime/device/cuda/backend.h"
#include "runtime/device/load_backend.h"

extern "C" __attribute__((visibility("default"))) const troupe::BackendPlugin* troupe_device_backend() {
  static constexpr troupe::BackendPlugin plugin = {
      TROUPE_VERSION,
      []() -> troupe::DeviceBackend* {
        using namespace troupe::cuda;
        return new troupe::CudaBackend(troupe::add_cuda_kernels, cublas_products(installed_cublas_lt()));
      },
  };
  return &plugin;
}
