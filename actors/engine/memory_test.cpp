#include "actors/engine/memory.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

Plan plan(int64_t variables, int64_t workspace, int64_t io) {
  Plan made;
  made.devices.push_back({"cpu:0", {variables, workspace, io}});
  return made;
}

TEST(Memory, VariablesKeepTheirBytesWhenTheyGrow) {
  Memory memory;
  memory.add(plan(64, 64, 64), 0);
  memory.base("cpu:0", ArenaKind::variables, 0)[63] = std::byte{7};
  memory.add(plan(128, 0, 0), 1);
  EXPECT_EQ(memory.bytes("cpu:0", ArenaKind::variables, 0), 128);
  EXPECT_EQ(memory.base("cpu:0", ArenaKind::variables, 0)[63], std::byte{7});
  EXPECT_EQ(memory.base("cpu:0", ArenaKind::variables, 1)[127], std::byte{0});
}

TEST(Memory, WorkspaceIsAsLargeAsTheLargestPlanNeeds) {
  Memory memory;
  memory.add(plan(0, 64, 0), 0);
  memory.add(plan(0, 4096, 0), 1);
  memory.add(plan(0, 128, 0), 2);
  for (int index : {0, 1, 2}) EXPECT_EQ(memory.bytes("cpu:0", ArenaKind::workspace, index), 4096);
}

TEST(Memory, EachPlanHasAnIoArenaOfItsOwn) {
  Memory memory;
  memory.add(plan(0, 0, 64), 0);
  memory.add(plan(0, 0, 128), 1);
  EXPECT_NE(memory.base("cpu:0", ArenaKind::io, 0), memory.base("cpu:0", ArenaKind::io, 1));
  EXPECT_EQ(memory.bytes("cpu:0", ArenaKind::io, 0), 64);
  EXPECT_EQ(memory.bytes("cpu:0", ArenaKind::io, 1), 128);
}

TEST(SharedMemory, IsTheSameBytesInAnother) {
  Memory ours(Memory::Kind::shared);
  const Plan small = plan(64, 128, 0);
  ours.add(small, 0);
  Memory theirs;
  for (const Memory::Block& block : ours.blocks(small, 0)) theirs.put(block);
  theirs.add(small, 0);
  ours.base("cpu:0", ArenaKind::variables, 0)[3] = std::byte{9};
  EXPECT_EQ(theirs.base("cpu:0", ArenaKind::variables, 0)[3], std::byte{9});
  theirs.base("cpu:0", ArenaKind::workspace, 0)[127] = std::byte{8};
  EXPECT_EQ(ours.base("cpu:0", ArenaKind::workspace, 0)[127], std::byte{8});
  EXPECT_EQ(theirs.bytes("cpu:0", ArenaKind::io, 0), 0);

  const Plan large = plan(4096, 0, 32);  // grown by the one that owns it
  ours.add(large, 1);
  for (const Memory::Block& block : ours.blocks(large, 1)) theirs.put(block);
  EXPECT_EQ(theirs.base("cpu:0", ArenaKind::variables, 1)[3], std::byte{9});
  EXPECT_EQ(theirs.bytes("cpu:0", ArenaKind::io, 1), 32);
}

}  // namespace
}  // namespace troupe
