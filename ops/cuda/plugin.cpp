// The library that drives CUDA devices: what load_backend asks it for.

#include "ops/cuda/list.h"
#include "runtime/device/cuda/backend.h"
#include "runtime/device/load_backend.h"

extern "C" {

int troupe_backend_version() { return troupe::kBackendVersion; }

troupe::DeviceBackend* troupe_make_backend() { return new troupe::CudaBackend(troupe::add_cuda_kernels); }

}  // extern "C"
