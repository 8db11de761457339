#include "runtime/base/disk.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace troupe {
namespace {

constexpr int64_t kNeeded = 12 << 20;

TEST(WriteFailure, SaysWhatIsNeededAndWhatThereIs) {
  const std::string full = write_failure(ENOSPC, "/tmp/a", kNeeded);
  EXPECT_TRUE(full.starts_with("No space left on device: it needs 12.0 MiB, ") && full.ends_with(" are free")) << full;
  EXPECT_TRUE(write_failure(ENOSPC, "a", kNeeded).ends_with(" are free"));
  EXPECT_EQ(write_failure(ENOSPC, "/no/such/folder/a", kNeeded), "No space left on device: it needs 12.0 MiB");
}

// What is free on the disk has nothing to do with these.
TEST(WriteFailure, HasWordsOfItsOwnForAQuotaAndForTheLargestFile) {
  EXPECT_EQ(write_failure(EDQUOT, "/tmp/a", kNeeded),
            "Disk quota exceeded: it needs 12.0 MiB, more than the quota here leaves");
  EXPECT_EQ(write_failure(EFBIG, "/tmp/a", kNeeded),
            "File too large: it needs 12.0 MiB, more than a file may have here");
}

TEST(WriteFailure, AnyOtherIsWhatTheSystemSays) {
  EXPECT_EQ(write_failure(EACCES, "/tmp/a", kNeeded), "Permission denied");
}

}  // namespace
}  // namespace troupe
