#include "runtime/comm/ucx_library.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/base/error.h"
#include "runtime/comm/ucx_network.h"

namespace troupe {
namespace {

using Code = std::array<unsigned char, 32>;

Code code_of(int (*function)(void*, size_t)) {
  Code code;
  std::memcpy(code.data(), reinterpret_cast<const void*>(function), code.size());
  return code;
}

// In a process that finds a library first which is none. When that is gone it can be loaded, with the environment as it
// is by then.
void load_at_the_second_try(const std::string& none) {
  try {
    ucx_library();
    std::_Exit(1);
  } catch (const FaultError&) {
  }
  std::filesystem::remove(none);
  setenv("UCX_ERROR_SIGNALS", "SIGSEGV", 1);
  ucx_library();
  struct sigaction after;
  sigaction(SIGSEGV, nullptr, &after);
  std::_Exit(after.sa_handler == SIG_DFL ? 2 : 0);
}

TEST(UcxLibrary, ASecondTryReadsTheEnvironmentAnew) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // this test again, in a process of its own with this environment
  constexpr const char* kPath = "LD_LIBRARY_PATH";
  constexpr const char* kFolder = "TROUPE_TEST_FOLDER";
  const char* const given = std::getenv(kPath);
  const std::string before = given == nullptr ? "" : given;
  std::string folder = testing::TempDir() + "troupe-ucx-XXXXXX";
  if (const char* const made = std::getenv(kFolder)) {
    folder = made;
  } else {
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    std::ofstream(folder + "/libucp.so.0") << "none";
    setenv(kPath, (folder + ":" + before).c_str(), 1);
    setenv(kFolder, folder.c_str(), 1);
  }
  EXPECT_EXIT(load_at_the_second_try(folder + "/libucp.so.0"), testing::ExitedWithCode(0), "");
  given == nullptr ? unsetenv(kPath) : setenv(kPath, before.c_str(), 1);
  unsetenv(kFolder);
  std::filesystem::remove_all(folder);
}

// Of signals and functions that nothing in this process has taken over before.
TEST(UcxLibrary, LeavesSignalsMemoryAndTheEnvironmentAlone) {
  const std::array signals = {SIGHUP, SIGILL, SIGBUS, SIGSEGV, SIGFPE};
  std::array<struct sigaction, signals.size()> before;
  for (size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], nullptr, &before[i]);
  const Code unmap = code_of(&munmap);
  char** const environment = environ;
  {
    const UcxNetwork network("");
    EXPECT_EQ(environ, environment);
    EXPECT_EQ(code_of(&munmap), unmap);
  }
  for (size_t i = 0; i < signals.size(); ++i) {
    struct sigaction after;
    sigaction(signals[i], nullptr, &after);
    EXPECT_EQ(after.sa_handler, before[i].sa_handler) << signals[i];
  }
  struct sigaction hangup;
  sigaction(SIGHUP, nullptr, &hangup);
  EXPECT_TRUE(hangup.sa_handler == SIG_DFL || hangup.sa_handler == SIG_IGN);
}

}  // namespace
}  // namespace troupe
