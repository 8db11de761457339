#include "runtime/files/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "runtime/files/test_dir.h"

namespace troupe {
namespace {

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string read(const OpenFile& file, int64_t offset, size_t size) {
  std::string text(size, '?');
  file.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

TEST(OpenFile, ReadsFromAnyPlace) {
  const TestDir dir;
  OpenFile first("file", dir.with_file("a", "hello"));
  EXPECT_EQ(first.size(), 5);
  EXPECT_EQ(read(first, 1, 3), "ell");
  EXPECT_EQ(read(first, 5, 0), "");
  OpenFile second(std::move(first));
  std::filesystem::remove(dir / "a");  // what is open stays
  EXPECT_EQ(read(second, 0, 5), "hello");
}

TEST(OpenFile, NamesAFileThatHasBecomeShorter) {
  const TestDir dir;
  const OpenFile file("array file", dir.with_file("a", "hello"));
  std::filesystem::resize_file(dir / "a", 3);
  EXPECT_EQ(read(file, 0, 3), "hel");
  EXPECT_EQ(fault_of([&] { read(file, 1, 4); }),
            "array file '" + dir.path() +
                "/a' cannot be read: bytes 3 to 5 are not there; it had 5 bytes when it was opened and has become "
                "shorter");
}

TEST(MappedFile, HoldsTheBytesOfTheFile) {
  const TestDir dir;
  EXPECT_EQ(text_of(MappedFile("file", dir.with_file("a", "hello"))), "hello");
  EXPECT_EQ(text_of(MappedFile("file", dir.with_file("empty", ""))), "");
  MappedFile first("file", dir / "a");
  MappedFile second(std::move(first));
  EXPECT_EQ(text_of(second), "hello");
  EXPECT_TRUE(first.bytes().empty());
  first = std::move(second);
  EXPECT_EQ(text_of(first), "hello");
}

TEST(MappedFile, NamesWhatCannotBeRead) {
  const TestDir dir;
  EXPECT_EQ(fault_of([&] { MappedFile("token file", dir / "no"); }),
            "token file '" + dir.path() + "/no' cannot be read: No such file or directory");
  EXPECT_EQ(fault_of([&] { MappedFile("token file", dir.path()); }),
            "token file '" + dir.path() + "' cannot be read: it is not a file");
}

TEST(WriteFile, WritesThePartsOneAfterAnother) {
  const TestDir dir;
  dir.with_file("a", "something longer that was there before");
  const std::string hello = "hello ", world = "world";
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(hello)), {}, std::as_bytes(std::span(world))};
  write_file("file", dir / "a", parts);
  EXPECT_EQ(content_of(dir / "a"), "hello world");
}

TEST(WriteFile, NamesWhatCannotBeWritten) {
  const TestDir dir;
  const std::string text = "hello";
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  EXPECT_EQ(fault_of([&] { write_file("file", dir / "no/a", parts); }),
            "file '" + dir.path() + "/no/a' cannot be written: No such file or directory");
  EXPECT_EQ(fault_of([&] { write_file("file", dir.path(), parts); }),
            "file '" + dir.path() + "' cannot be written: Is a directory");
  const std::string full = fault_of([&] { write_file("file", "/dev/full", parts); });
  const std::string start = "file '/dev/full' cannot be written: No space left on device: it needs 5 B, ";
  EXPECT_TRUE(full.starts_with(start) && full.ends_with(" are free")) << full;
}

// Until it is gone, this process may write no larger file.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{bytes, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  void (*signal_)(int);
  rlimit before_{};
};

TEST(WriteFile, SaysHowMuchRoomItNeedsAndThereIsAndTakesNone) {
  const TestDir dir;
  const std::string text(5000, 'x');
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text)), std::as_bytes(std::span(text))};
  std::string fault;
  {
    const FileLimit limit(6000);
    fault = fault_of([&] { write_file("file", dir / "a", parts); });
  }
  EXPECT_EQ(fault,
            "file '" + dir.path() +
                "/a' cannot be written: File too large: it needs 9.8 KiB, this process may write files of 5.9 KiB");
  EXPECT_EQ(content_of(dir / "a"), "");
}

TEST(ReplaceFile, LeavesWhatWasThereUntilItIsWhole) {
  const TestDir dir;
  dir.with_file("a", "before");
  const std::string text(5000, 'x');
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  std::string fault;
  {
    const FileLimit limit(100);
    fault = fault_of([&] { replace_file("plan", dir / "a", parts); });
  }
  EXPECT_TRUE(fault.starts_with("plan '" + dir.path() + "/a' cannot be written: File too large: it needs 4.9 KiB, "))
      << fault;
  EXPECT_EQ(content_of(dir / "a"), "before");
  EXPECT_EQ(dir.names(), std::set<std::string>{"a"});
  replace_file("plan", dir / "a", parts);
  EXPECT_EQ(content_of(dir / "a"), text);
  EXPECT_EQ(dir.names(), std::set<std::string>{"a"});
  EXPECT_EQ(fault_of([&] { replace_file("plan", dir / "no/a", parts); }),
            "plan '" + dir.path() + "/no/a' cannot be written: No such file or directory");
  EXPECT_EQ(fault_of([&] { replace_file("plan", dir.path(), parts); }),
            "plan '" + dir.path() + "' cannot be written: Is a directory");
}

}  // namespace
}  // namespace troupe
