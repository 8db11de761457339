// The CUDA kernels by the names of their ops.
#pragma once

#include "runtime/device/kernel.h"

namespace troupe {

// Ops without a CUDA kernel are not in the table.
void add_cuda_kernels(KernelTable& table);

}  // namespace troupe
