#include "runtime/device/load_backend.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "runtime/base/error.h"

namespace troupe {
namespace {

std::string why_not(const std::string& path) {
  try {
    load_backend(path);
  } catch (const FaultError& error) {
    return error.fault().what;
  }
  ADD_FAILURE() << path << " was loaded";
  return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The CUDA backend on a runtime that needs no GPU.
TEST(LoadBackend, WhatIsLoadedWorksAndItsFaultsAreCaught) {
  const std::unique_ptr<DeviceBackend> backend = load_backend(TROUPE_SIMULATED_PLUGIN);
  ASSERT_EQ(backend->devices().size(), 1u);
  EXPECT_TRUE(contains(backend->description(), "1 CUDA device: Simulated GPU")) << backend->description();
  EXPECT_THROW(backend->allocate(0, int64_t{1} << 50), FaultError);
  const DeviceMemory memory = backend->allocate(0, 8);
  int64_t value = 7;
  backend->copy(memory.get(), &value, 8);
  value = 0;
  backend->copy(&value, memory.get(), 8);
  EXPECT_EQ(value, 7);
  KernelTable kernels;
  backend->add_kernels(kernels);
  EXPECT_NE(kernels.find("add", DeviceKind::cuda), nullptr);
}

TEST(LoadBackend, WithoutTheLibraryItSaysWhatHelps) {
  const std::string why = why_not("/nowhere/libtroupe_cuda.so");
  EXPECT_TRUE(contains(why, "there is no '/nowhere/libtroupe_cuda.so': Troupe was built without CUDA")) << why;
  EXPECT_TRUE(contains(why, "Install NVIDIA's CUDA toolkit (nvcc)")) << why;
}

TEST(LoadBackend, OneOfAnotherVersionIsRefused) {
  const std::string why = why_not(TROUPE_OTHER_VERSION_PLUGIN);
  EXPECT_TRUE(contains(why, "is of Troupe 0.0.0-other, but this is Troupe ")) << why;
}

TEST(LoadBackend, WhatIsNoBackendIsRefused) {
  const std::string why = why_not(TROUPE_NO_PLUGIN);
  EXPECT_TRUE(contains(why, "is no backend of Troupe")) << why;
}

TEST(LoadBackend, WhatIsNoLibraryIsRefused) {
  const auto path = std::filesystem::temp_directory_path() / ("no_library." + std::to_string(getpid()));
  std::ofstream(path) << "text";
  const std::string why = why_not(path);
  EXPECT_TRUE(contains(why, "cannot be loaded: ")) << why;
  std::filesystem::remove(path);
}

// The real one: it loads where there is no driver, and says so.
TEST(LoadBackend, TheCudaBackendLoadsAnywhere) {
  const std::string path = TROUPE_CUDA_PLUGIN;
  if (path.empty()) GTEST_SKIP() << "built without CUDA";
  const std::unique_ptr<DeviceBackend> backend = load_backend(path);
  const std::vector<DeviceInfo> devices = backend->devices();
  const std::string description = backend->description();
  if (devices.empty()) {
    EXPECT_TRUE(contains(description, "no CUDA device: ")) << description;
    if (!std::filesystem::exists("/proc/driver/nvidia")) {
      EXPECT_TRUE(contains(description, "no NVIDIA driver was found")) << description;
    }
    EXPECT_THROW(backend->allocate_pinned(64), FaultError);
  } else {
    EXPECT_GT(devices[0].memory_bytes, 0);
    EXPECT_TRUE(contains(description, devices[0].name)) << description;
  }
  KernelTable kernels;
  backend->add_kernels(kernels);
  EXPECT_NE(kernels.find("add", DeviceKind::cuda), nullptr);
}

}  // namespace
}  // namespace troupe
