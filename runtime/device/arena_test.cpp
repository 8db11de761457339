#include "runtime/device/arena.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/error.h"

namespace troupe {
namespace {

TEST(Arena, OfOneProcessIsZeroedAndCanBeEmpty) {
  const Arena arena(1000);
  ASSERT_EQ(arena.bytes(), 1000);
  for (int64_t i = 0; i < arena.bytes(); ++i) ASSERT_EQ(arena.data()[i], std::byte{0});
  EXPECT_EQ(Arena(0).data(), nullptr);
}

TEST(SharedArena, WhatOneProcessWritesAnotherReads) {
  const Arena arena = Arena::shared(1 << 20);
  const ArenaFile file = arena.file();
  const pid_t child = fork();
  if (child == 0) {
    const Arena opened = Arena::open(file);
    opened.data()[12345] = std::byte{7};
    _exit(opened.bytes() == arena.bytes() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(arena.data()[12345], std::byte{7});
  EXPECT_EQ(arena.data()[12346], std::byte{0});
}

TEST(SharedArena, OfAProcessThatHasEndedIsAFault) {
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t child = fork();
  if (child == 0) {
    const Arena arena = Arena::shared(64);
    const ArenaFile file = arena.file();
    _exit(write(told[1], &file, sizeof(file)) == sizeof(file) ? 0 : 1);
  }
  ArenaFile file;
  ASSERT_EQ(read(told[0], &file, sizeof(file)), static_cast<ssize_t>(sizeof(file)));
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_THROW(Arena::open(file), FaultError);
  close(told[0]);
  close(told[1]);
}

TEST(SharedArena, OfAnotherSizeThanWasSaidIsAFault) {
  const Arena arena = Arena::shared(64);
  ArenaFile file = arena.file();
  file.bytes = 4096;
  EXPECT_THROW(Arena::open(file), FaultError);
}

}  // namespace
}  // namespace troupe
