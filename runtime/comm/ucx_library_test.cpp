#include "runtime/comm/ucx_library.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

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

// Without a file to be had it cannot be loaded. Afterwards it can, with the environment as that is by then.
void load_at_the_second_try() {
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  const rlimit none{0, files.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  try {
    ucx_library();
    std::_Exit(1);
  } catch (const FaultError&) {
  }
  setrlimit(RLIMIT_NOFILE, &files);
  setenv("UCX_ERROR_SIGNALS", "SIGSEGV", 1);
  ucx_library();
  struct sigaction after;
  sigaction(SIGSEGV, nullptr, &after);
  std::_Exit(after.sa_handler == SIG_DFL ? 2 : 0);
}

TEST(UcxLibrary, ASecondTryReadsTheEnvironmentAnew) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // in a process that has not loaded it
  EXPECT_EXIT(load_at_the_second_try(), testing::ExitedWithCode(0), "");
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
