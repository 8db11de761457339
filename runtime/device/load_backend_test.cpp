#include "runtime/device/load_backend.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtime/base/error.h"

namespace troupe {
namespace {

std::string refusal_of(const std::string& library) {
  try {
    load_backend(library);
  } catch (const FaultError& error) {
    return error.fault().what;
  }
  return "";
}

TEST(LoadBackend, SaysWhatToInstallWhereThereIsNone) {
  EXPECT_EQ(refusal_of("/nowhere/libtroupe_cuda.so"),
            "this Troupe was built without CUDA: there is no /nowhere/libtroupe_cuda.so; install NVIDIA's CUDA toolkit "
            "(nvcc, version 12 or newer), then build again");
}

TEST(LoadBackend, RefusesWhatIsNoBackend) {
  const std::string file = ::testing::TempDir() + "/libnone.so";
  std::ofstream(file) << "no library";
  EXPECT_NE(refusal_of(file).find("the CUDA backend cannot be loaded: " + file), std::string::npos) << refusal_of(file);
  std::filesystem::remove(file);
  Dl_info other{};
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&dlopen), &other), 0);
  EXPECT_EQ(refusal_of(other.dli_fname),
            std::string("the CUDA backend ") + other.dli_fname + " is none: it has no function troupe_backend_version");
}

}  // namespace
}  // namespace troupe
