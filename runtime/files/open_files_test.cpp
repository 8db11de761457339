#include "runtime/files/open_files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>

#include "runtime/base/random.h"
#include "runtime/files/test_dir.h"

namespace troupe {
namespace {

std::string read(const OpenFiles& files, size_t file, int64_t offset, size_t size) {
  std::string text(size, '?');
  files.read(file, offset, std::as_writable_bytes(std::span(text)));
  return text;
}

size_t open_now() {
  size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) count += each.is_regular_file();
  return count;
}

// Until it is gone, this process may have no descriptor of this number or above.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t end) {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit limit{end, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(OpenFiles, ManyMoreThanMayBeOpenAreReadInAnyOrder) {
  const TestDir dir;
  const size_t before = open_now();
  const DescriptorLimit limit(before + 200);
  OpenFiles files("file");
  for (size_t i = 0; i < 500; ++i) files.add(dir.with_file(std::to_string(i), "of file " + std::to_string(i)));
  EXPECT_EQ(open_now(), before + OpenFiles::kAtOnce);
  Random random(1);
  for (int turn = 0; turn < 2000; ++turn) {
    const auto file = static_cast<size_t>(random.below(500));
    ASSERT_EQ(read(files, file, 8, std::to_string(file).size()), std::to_string(file));
  }
  EXPECT_EQ(open_now(), before + OpenFiles::kAtOnce);
}

TEST(OpenFiles, ThoseThatWereReadLastStayOpen) {
  const TestDir dir;
  OpenFiles files("file", 2);
  for (const char* name : {"a", "b", "c"}) files.add(dir.with_file(name, name));
  EXPECT_EQ(read(files, 1, 0, 1), "b");
  EXPECT_EQ(read(files, 0, 0, 1), "a");  // and c is closed
  for (const char* name : {"a", "b", "c"}) std::filesystem::remove(dir / name);
  EXPECT_EQ(read(files, 1, 0, 1), "b");
  EXPECT_EQ(read(files, 0, 0, 1), "a");
  EXPECT_EQ(fault_of([&] { read(files, 2, 0, 1); }),
            "file '" + (dir / "c") + "' cannot be read: No such file or directory");
}

TEST(OpenFiles, OneThatIsAnotherOrShorterWhenItIsOpenedAgainIsNamed) {
  const TestDir dir;
  OpenFiles files("file", 1);
  for (const char* name : {"a", "b", "c"}) files.add(dir.with_file(name, "hello"));
  std::filesystem::resize_file(dir / "a", 3);
  dir.with_file("new", "hello");
  std::filesystem::rename(dir / "new", dir / "b");
  EXPECT_EQ(fault_of([&] { read(files, 0, 0, 1); }),
            "file '" + (dir / "a") + "' cannot be read: it had 5 bytes when it was first opened and has 3 now");
  EXPECT_EQ(fault_of([&] { read(files, 1, 0, 1); }),
            "file '" + (dir / "b") + "' cannot be read: it is another file than when it was first opened");
  EXPECT_EQ(read(files, 2, 0, 5), "hello");
}

TEST(OpenFiles, AreReadByManyThreads) {
  const TestDir dir;
  OpenFiles files("file", 3);
  for (int i = 0; i < 10; ++i)
    files.add(dir.with_file(std::to_string(i), std::string(100, static_cast<char>('a' + i))));
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      threads.emplace_back([&, seed] {
        Random random(seed);
        for (int turn = 0; turn < 1000; ++turn) {
          const auto file = static_cast<size_t>(random.below(10));
          wrong += read(files, file, 0, 100) != std::string(100, static_cast<char>('a' + file));
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

TEST(OpenFile, SaysWhatHelpsWhenTooManyAreOpen) {
  const TestDir dir;
  const std::string path = dir.with_file("a", "hello");
  const auto open_with_few = [&] {
    const DescriptorLimit limit(3);  // no longer than needed: sanitizers want descriptors too
    OpenFile("file", path);
  };
  EXPECT_EQ(fault_of(open_with_few),
            "file '" + path +
                "' cannot be read: Too many open files: this process may have 3 open, sockets included; `ulimit -n 12` "
                "before it starts allows it more");
}

}  // namespace
}  // namespace troupe
