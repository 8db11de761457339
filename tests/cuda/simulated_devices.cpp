// What tests of the Python package decide about the simulated CUDA runtime, inside the backend that they load in place of
// the real one.

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/cublas/simulated_cublas_lt.h"
#include "tests/simulated_cuda/control.h"

namespace {

std::optional<troupe::simulated_cuda::RunningByItself>& running() {
  static std::optional<troupe::simulated_cuda::RunningByItself> instance;
  return instance;
}

void set_up(int devices, int64_t bytes, int driver, bool cublas_lt) {
  using namespace troupe::simulated_cuda;
  running().reset();
  Setup setup;
  setup.devices.assign(static_cast<size_t>(devices), {"Simulated GPU", bytes});
  setup.driver = driver;
  reset(1, std::move(setup));
  running().emplace();
  troupe::simulated_cublas_lt::install(cublas_lt);
}

std::vector<int64_t> numbers_in(const char* name) {
  const char* text = std::getenv(name);
  std::vector<int64_t> numbers;
  for (std::string_view left = text == nullptr ? "" : text; !left.empty();) {
    int64_t number = -1;
    const char* end = std::from_chars(left.data(), left.data() + left.size(), number).ptr;
    numbers.push_back(number);
    left.remove_prefix(std::min<size_t>(end - left.data() + 1, left.size()));
  }
  return numbers;
}

// What a process finds that nobody has set up: TROUPE_SIMULATED_CUDA=DEVICES,BYTES,DRIVER[,DEVICE,KERNEL], of which
// CUDA_VISIBLE_DEVICES shows some, and one of which falls off with its so-many-th kernel.
[[maybe_unused]] const bool of_environment = [] {
  const std::vector<int64_t> found = numbers_in("TROUPE_SIMULATED_CUDA");
  if (found.size() < 3) return false;
  std::vector<int64_t> visible = numbers_in("CUDA_VISIBLE_DEVICES");
  if (std::getenv("CUDA_VISIBLE_DEVICES") == nullptr) {
    for (int64_t device = 0; device < found[0]; ++device) visible.push_back(device);
  }
  const auto missing = std::find_if(visible.begin(), visible.end(), [&](int64_t d) { return d < 0 || d >= found[0]; });
  visible.erase(missing, visible.end());  // as CUDA does
  set_up(static_cast<int>(visible.size()), found[1], static_cast<int>(found[2]), false);
  const auto failing = found.size() < 5 ? visible.end() : std::find(visible.begin(), visible.end(), found[3]);
  if (failing != visible.end()) {
    troupe::simulated_cuda::fail_kernel(static_cast<int>(failing - visible.begin()), cudaErrorLaunchFailure,
                                        static_cast<int>(found[4]));
  }
  return true;
}();

}  // namespace

extern "C" {

// So many devices of so many bytes, with a driver for this version of CUDA (13000), or none for 0; with cuBLASLt, or without.
void troupe_simulated_cuda_setup(int devices, int64_t bytes, int driver, bool cublas_lt) {
  set_up(devices, bytes, driver, cublas_lt);
}

void troupe_simulated_cuda_end() { running().reset(); }

// How often a function has been called since the setup.
int64_t troupe_simulated_cuda_calls(const char* function) { return troupe::simulated_cuda::calls(function); }

}  // extern "C"
