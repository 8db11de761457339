#include "runtime/files/file.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(fault_of([&] { write_file("file", "/dev/full", parts); }),
            "file '/dev/full' cannot be written: No space left on device");
}

}  // namespace
}  // namespace troupe
