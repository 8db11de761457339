// What the names of a plan's devices say.
//
//   cpu:3     the fourth CPU device
//   cuda:1    the second CUDA device
//   cuda:1.2  the third of several devices of a mesh that lie on it
//   host:1    memory of the host, beside the device with this number
#pragma once

#include <string>

#include "runtime/device/kernel.h"
#include "runtime/plan/plan.h"

namespace troupe {

// 1 of "cuda:1" and "cuda:1.2"; -1 where there is no number.
int number_of(const std::string& device);

bool is_cuda(const std::string& device);

// Whose kernels a device's tasks run: beside CUDA devices copies to and from the host's memory are made by these.
DeviceKind kind_of(const Plan& plan, DeviceId device);

}  // namespace troupe
