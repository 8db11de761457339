#include "runtime/comm/host.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/error.h"

namespace troupe {
namespace {

TEST(Host, IdentityIsSharedByProcessesOfOneHost) {
  const std::string here = host_identity();
  EXPECT_EQ(here, host_identity());
  EXPECT_NE(here.find("net:["), std::string::npos) << here;
  EXPECT_NE(here.find("pid:["), std::string::npos) << here;
  const pid_t child = fork();
  if (child == 0) _exit(host_identity() == here ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Host, KnowsTheDeviceOfARoute) {
  EXPECT_TRUE(network_devices("127.0.0.1", 1).starts_with("lo")) << network_devices("127.0.0.1", 1);
  EXPECT_THROW(network_devices("nosuch.invalid", 1), FaultError);
}

}  // namespace
}  // namespace troupe
