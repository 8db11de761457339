#include "runtime/plan/write.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/base/error.h"
#include "runtime/plan/read.h"
#include "runtime/plan/sample_plans.h"

namespace troupe {
namespace {

TEST(WritePlan, EqualPlansGiveEqualBytes) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const std::vector<std::byte> bytes = serialize(random_plan(seed, 200));
    EXPECT_EQ(serialize(random_plan(seed, 200)), bytes);
    EXPECT_EQ(serialize(read_plan(bytes)), bytes);
  }
  EXPECT_NE(serialize(random_plan(1, 200)), serialize(random_plan(2, 200)));
}

TEST(WritePlan, ReplacesAnOldPlanAndLeavesNothingBesideIt) {
  const std::string path = ::testing::TempDir() + "troupe_" + std::to_string(::getpid()) + "_replace.plan";
  write_plan(small_plan(), path);
  write_plan(random_plan(1, 10), path);
  EXPECT_TRUE(read_plan_file(path) == random_plan(1, 10));
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  std::filesystem::remove(path);
}

TEST(WritePlan, NamesTheFileThatCannotBeWritten) {
  try {
    write_plan(small_plan(), "/nowhere/at/all.plan");
    FAIL() << "written";
  } catch (const FaultError& error) {
    EXPECT_STREQ(error.what(), "plan file '/nowhere/at/all.plan' cannot be written: No such file or directory");
  }
  try {
    write_plan(small_plan(), "/dev/full/x");
    FAIL() << "written";
  } catch (const FaultError& error) {
    EXPECT_STREQ(error.what(), "plan file '/dev/full/x' cannot be written: Not a directory");
  }
}

}  // namespace
}  // namespace troupe
