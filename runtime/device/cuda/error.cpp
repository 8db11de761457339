#include "runtime/device/cuda/error.h"

namespace troupe {

std::string text_of(cudaError_t error, const std::string& call) {
  return call + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ")";
}

std::string name_of_device(int device) { return "cuda:" + std::to_string(device); }

void check(cudaError_t status, int device, const std::string& call, const std::string& doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  Fault fault;
  fault.device = name_of_device(device);
  fault.what = (doing.empty() ? "" : doing + ": ") + text_of(status, call);
  throw FaultError(std::move(fault));
}

}  // namespace troupe
