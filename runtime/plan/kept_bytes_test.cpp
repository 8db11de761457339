#include "runtime/plan/kept_bytes.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

TEST(KeptBytes, AreThoseThatAnotherStreamReadsAndCountOnce) {
  Plan plan;
  plan.devices = {{"cpu:0", {0, 1000, 0}}};
  plan.streams = {{"compute", DeviceId(0), false, {}}, {"copy", DeviceId(0), false, {}}};
  // Of these, the copy reads the first three; two of them lie in part in the same bytes.
  const int64_t offsets[] = {0, 64, 256, 512};
  for (int64_t offset : offsets) {
    PlanRegister reg;
    reg.producer = TaskId(0);
    reg.device = DeviceId(0);
    reg.arena = ArenaKind::workspace;
    reg.bytes = 100;
    reg.slots = {offset};
    plan.registers.push_back(reg);
  }
  plan.tasks.resize(3);
  for (int64_t t = 0; t < 3; ++t) plan.tasks[static_cast<size_t>(t)].stream = StreamId(t == 1 ? 1 : 0);
  plan.tasks[1].inputs = {{RegisterId(0), 1}, {RegisterId(1), 1}, {RegisterId(2), 1}};
  plan.tasks[2].inputs = {{RegisterId(2), 1}, {RegisterId(3), 1}};

  const KeptBytes kept(plan);
  EXPECT_TRUE(kept.is_kept(RegisterId(0)) && kept.is_kept(RegisterId(1)) && kept.is_kept(RegisterId(2)));
  EXPECT_FALSE(kept.is_kept(RegisterId(3)));
  EXPECT_EQ(kept.of(DeviceId(0)), 164 + 100);
  EXPECT_EQ(kept.others(DeviceId(0), 512, 100), 100);
  EXPECT_EQ(kept.others(DeviceId(0), 64, 100), 0);
  EXPECT_EQ(kept.others(DeviceId(0), 150, 200), 200 - 14 - 94);
  EXPECT_EQ(kept.others(DeviceId(0), 164, 92), 92);
}

}  // namespace
}  // namespace troupe
