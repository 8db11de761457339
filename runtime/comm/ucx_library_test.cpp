#include "runtime/comm/ucx_library.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "runtime/comm/ucx_network.h"

namespace troupe {
namespace {

using Code = std::array<unsigned char, 32>;

Code code_of(int (*function)(void*, size_t)) {
  Code code;
  std::memcpy(code.data(), reinterpret_cast<const void*>(function), code.size());
  return code;
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
