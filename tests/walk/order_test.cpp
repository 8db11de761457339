// The order of collectives: swapped on one device alone, a plan is refused or still computes the same bits.

#include <gtest/gtest.h>

#include "planner/certify.h"
#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/base/align.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

bool is_collective(const Plan& plan, TaskId task) { return plan.task(task).kernel == "pull"; }

// Gives every register bytes of its own: what lies where was planned for one order.
void spread(Plan& plan) {
  for (PlanRegister& reg : plan.registers) {
    if (reg.is_control() || reg.arena != ArenaKind::workspace) continue;
    int64_t& end = plan.devices[reg.device.index()].arena_bytes[static_cast<int>(ArenaKind::workspace)];
    for (int64_t& slot : reg.slots) {
      slot = end;
      end += aligned(reg.bytes);
    }
  }
}

// Whether certify accepts the plan.
bool accepted(const Plan& plan) {
  try {
    certify(plan, unroll(plan), 0);
    return true;
  } catch (const PlanError& error) {
    EXPECT_EQ(std::string(error.what()).find("plan 'train' would hang: "), 0u);
    return false;
  }
}

TEST(CollectiveOrder, SwappedOnOneDeviceIsRefusedOrHarmless) {
  const int64_t batch = 8;
  ModelBuilder model = mlp_model(4, batch / 2, 16);
  model.megatron("tp", {"layers.0", "layers.2"}, {"layers.1", "layers.3"});
  const Plan plan = compile(model.graph, choices_on({{"dp", 2}, {"tp", 2}}, 4), Profile()).plan;
  const Batches batches = {{"x", random_numbers("x", {batch, 16})}};
  const Trained expected = run_plan(model.graph, plan, batches, 2, {});
  int refused = 0;
  int harmless = 0;
  for (size_t s = 0; s < plan.streams.size(); ++s) {
    if (plan.streams[s].device != DeviceId(1)) continue;
    for (size_t g = 0; g < plan.streams[s].segments.size(); ++g) {
      const std::vector<TaskId>& tasks = plan.streams[s].segments[g].tasks;
      std::vector<size_t> collectives;
      for (size_t t = 0; t < tasks.size(); ++t) {
        if (is_collective(plan, tasks[t])) collectives.push_back(t);
      }
      for (size_t c = 1; c < collectives.size(); ++c) {
        Plan swapped = plan;
        std::vector<TaskId>& order = swapped.streams[s].segments[g].tasks;
        spread(swapped);
        std::swap(order[collectives[c - 1]], order[collectives[c]]);
        if (!accepted(swapped)) {
          ++refused;
          continue;
        }
        ++harmless;
        std::string wrong;
        const auto run = try_plan(model.graph, swapped, batches, 2, {.executors = 4, .scrambled = c}, &wrong);
        ASSERT_TRUE(run.has_value()) << plan.task(tasks[collectives[c]]).name << ": " << wrong;
        EXPECT_EQ(run->losses, expected.losses) << plan.task(tasks[collectives[c]]).name;
      }
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(harmless, 0);
}

}  // namespace
}  // namespace troupe
