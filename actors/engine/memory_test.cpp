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

}  // namespace
}  // namespace troupe
