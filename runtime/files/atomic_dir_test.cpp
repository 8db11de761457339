#include "runtime/files/atomic_dir.h"

#include <gtest/gtest.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "runtime/files/test_dir.h"

// Some file systems say only here that there is no room.
static int fsync_error = 0;
extern "C" int fsync(int file) {
  if (fsync_error == 0) return static_cast<int>(syscall(SYS_fsync, file));
  errno = fsync_error;
  return -1;
}

static std::function<void(const std::string&)> on_statvfs;
extern "C" int statvfs(const char* folder, struct statvfs* status) {
  if (on_statvfs) on_statvfs(folder);
  *status = {};
  status->f_frsize = 1024;
  status->f_bavail = 3;
  return 0;
}

namespace troupe {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

void write_dir(const std::string& path, const std::string& content) {
  AtomicDir dir(path);
  dir.write("a", bytes_of(content));
  dir.commit();
}

TEST(AtomicDir, AppearsWholeWhenItIsCommitted) {
  const TestDir base;
  {
    AtomicDir dir(base / "step-1");
    dir.write("a", bytes_of("hello"));
    fs::create_directory(dir.file("sub"));
    dir.write("sub/b", bytes_of(""));
    EXPECT_FALSE(fs::exists(base / "step-1"));
    dir.commit();
    EXPECT_EQ(content_of(base / "step-1/a"), "hello");
  }
  EXPECT_EQ(content_of(base / "step-1/a"), "hello");
  EXPECT_TRUE(fs::exists(base / "step-1/sub/b"));
  EXPECT_EQ(base.names(), std::set<std::string>{"step-1"});
}

TEST(AtomicDir, LeavesNothingWithoutCommit) {
  const TestDir base;
  {
    AtomicDir dir(base / "step-1");
    dir.write("a", bytes_of("hello"));
    ASSERT_EQ(base.names().size(), 1u);
    EXPECT_TRUE(is_unfinished_dir(*base.names().begin()));
  }
  EXPECT_EQ(base.names(), std::set<std::string>{});
}

TEST(AtomicDir, ReplacesAnOldOneWithAllItsFiles) {
  const TestDir base;
  write_dir(base / "last", "old");
  base.with_file("last/only in the old one", "");
  {
    AtomicDir dir(base / "last");
    dir.write("a", bytes_of("new"));
    EXPECT_EQ(content_of(base / "last/a"), "old");
    dir.commit();
  }
  EXPECT_EQ(content_of(base / "last/a"), "new");
  EXPECT_FALSE(fs::exists(base / "last/only in the old one"));
  EXPECT_EQ(base.names(), std::set<std::string>{"last"});
}

TEST(AtomicDir, KeepsTheOldOneWithoutCommit) {
  const TestDir base;
  write_dir(base / "last", "old");
  { AtomicDir dir(base / "last"); }
  EXPECT_EQ(content_of(base / "last/a"), "old");
  EXPECT_EQ(base.names(), std::set<std::string>{"last"});
}

TEST(AtomicDir, RemovesWhatInterruptedWritersOfItsNameLeft) {
  const TestDir base;
  fs::create_directories(base / "last.partial-0123456789abcdef/sub");
  fs::create_directory(base / "last.replaced-0123456789abcdef");
  fs::create_directory(base / "other.partial-0123456789abcdef");
  fs::create_directory(base / "last.partial-mine");
  write_dir(base / "last", "new");
  EXPECT_EQ(base.names(), (std::set<std::string>{"last", "last.partial-mine", "other.partial-0123456789abcdef"}));
  EXPECT_EQ(content_of(base / "last/a"), "new");
}

TEST(AtomicDir, TellsItsUnfinishedDirectoriesByName) {
  EXPECT_TRUE(is_unfinished_dir("step-1.partial-0123456789abcdef"));
  EXPECT_TRUE(is_unfinished_dir("step-1.replaced-0123456789abcdef"));
  for (const char* name :
       {"step-1", "step-1.partial", "step-1.partial-", "step-1.partial-0123456789abcde",
        "step-1.partial-0123456789abcdeg", "step-1.partial-0123456789abcdef0", ".partial-0123456789abcdef", ""}) {
    EXPECT_FALSE(is_unfinished_dir(name)) << name;
  }
}

TEST(RecoverDir, BringsBackWhatAnInterruptedReplacementMovedAway) {
  const TestDir base;
  write_dir(base / "last.replaced-0123456789abcdef", "old");
  recover_dir(base / "last");
  EXPECT_EQ(content_of(base / "last/a"), "old");
  EXPECT_EQ(base.names(), std::set<std::string>{"last"});
  recover_dir(base / "last");
  recover_dir(base / "never written");
  EXPECT_EQ(base.names(), std::set<std::string>{"last"});
}

TEST(RecoverDir, TouchesNothingWhereTheDirectoryIsThere) {
  const TestDir base;
  write_dir(base / "last", "new");
  write_dir(base / "last.replaced-0123456789abcdef", "old");
  recover_dir(base / "last");
  EXPECT_EQ(content_of(base / "last/a"), "new");
  EXPECT_EQ(base.names().size(), 2u);
}

TEST(AtomicDir, ASlashAtTheEndChangesNothing) {
  const TestDir base;
  write_dir(base / "last/", "new");
  EXPECT_EQ(content_of(base / "last/a"), "new");
}

TEST(AtomicDir, NamesThePathAndTheReasonOfAFailure) {
  const TestDir base;
  EXPECT_EQ(fault_of([&] { AtomicDir dir(base / "no/last"); }),
            "directory '" + base.path() + "/no/last' cannot be written: No such file or directory");
  EXPECT_EQ(fault_of([&] { AtomicDir dir(""); }), "directory '' cannot be written: it has no name");
  base.with_file("file", "");
  EXPECT_EQ(fault_of([&] { AtomicDir dir(base / "file/last"); }),
            "directory '" + base.path() + "/file/last' cannot be written: Not a directory");
  EXPECT_EQ(fault_of([&] { AtomicDir(base / "file").commit(); }),
            "directory '" + base.path() + "/file' cannot be written: a file of that name is in the way");
  EXPECT_EQ(base.names(), std::set<std::string>{"file"});
}

TEST(AtomicDir, SaysWhatIsFreeWhenAllThatWasWrittenIsGone) {
  const TestDir base;
  write_dir(base / "last", "old");
  std::set<std::string> left;
  on_statvfs = [&](const std::string& folder) {
    EXPECT_EQ(folder, base.path() + "/");
    left = base.names();
  };
  fsync_error = ENOSPC;
  const std::string fault = fault_of([&] {
    AtomicDir dir(base / "last");
    dir.write("a", bytes_of(std::string(4000, 'a')));
    fs::create_directory(dir.file("sub"));
    dir.write("sub/b", bytes_of(std::string(1120, 'b')));
    dir.commit();
  });
  fsync_error = 0;
  on_statvfs = nullptr;
  EXPECT_EQ(fault, "directory '" + base.path() +
                       "/last' cannot be written: No space left on device: it needs 5.0 KiB, 3.0 KiB are free");
  EXPECT_EQ(left, std::set<std::string>{"last"});
  EXPECT_EQ(content_of(base / "last/a"), "old");
}

TEST(AtomicDir, AFullDiskLeavesTheOldOne) {
  const TestDir base;
  write_dir(base / "last", "old");
  const std::string fault = fault_of([&] {
    AtomicDir dir(base / "last");
    fs::create_symlink("/dev/full", dir.file("a"));
    dir.write("a", bytes_of("new"));
    dir.commit();
  });
  EXPECT_NE(fault.find("/a' cannot be written: No space left on device"), std::string::npos) << fault;
  EXPECT_EQ(content_of(base / "last/a"), "old");
  EXPECT_EQ(base.names(), std::set<std::string>{"last"});
}

}  // namespace
}  // namespace troupe
