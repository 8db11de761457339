// Runs a kernel's body for every thread of a grid.
#pragma once

#include <cstddef>
#include <functional>

#include "tests/simulated_cuda/device_code.h"

namespace troupe::simulated {

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

}  // namespace troupe::simulated
