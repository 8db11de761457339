// What tests of the Python package decide about the simulated CUDA runtime, inside the backend that they load in place of
// the real one.

#include <cstdint>
#include <optional>

#include "tests/cublas/simulated_cublas_lt.h"
#include "tests/simulated_cuda/control.h"

namespace {

std::optional<troupe::simulated_cuda::RunningByItself>& running() {
  static std::optional<troupe::simulated_cuda::RunningByItself> instance;
  return instance;
}

}  // namespace

extern "C" {

// So many devices of so many bytes, with a driver for this version of CUDA (13000), or none for 0; with cuBLASLt, or without.
void troupe_simulated_cuda_setup(int devices, int64_t bytes, int driver, bool cublas_lt) {
  using namespace troupe::simulated_cuda;
  running().reset();
  Setup setup;
  setup.devices.assign(static_cast<size_t>(devices), {"Simulated GPU", bytes});
  setup.driver = driver;
  reset(1, std::move(setup));
  running().emplace();
  troupe::simulated_cublas_lt::install(cublas_lt);
}

void troupe_simulated_cuda_end() { running().reset(); }

// How often a function has been called since the setup.
int64_t troupe_simulated_cuda_calls(const char* function) { return troupe::simulated_cuda::calls(function); }

}  // extern "C"
