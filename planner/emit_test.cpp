#include "planner/emit.h"

#include <gtest/gtest.h>

#include <thread>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/plan/validate.h"
#include "runtime/plan/write.h"

namespace troupe {
namespace {

TEST(Emit, PlansAreValidOnAnyMesh) {
  GptShape shape{.vocab = 13, .layers = 1, .dim = 16, .heads = 4, .seq = 6, .rows = 6};
  for (const auto& [dp, tp, shards, pieces] :
       {std::tuple(1, 1, 1, 1), {1, 1, 4, 2}, {3, 1, 8, 1}, {1, 3, 2, 1}, {2, 2, 8, 2}, {3, 2, 4, 1}, {2, 5, 2, 1}}) {
    const Choices choices = choices_on({{"dp", dp}, {"tp", tp}}, shards, pieces);
    EXPECT_EQ(flaw_in(compile(gpt_model(shape).graph, choices, Profile()).plan), std::nullopt) << choices.mesh.str();
    EXPECT_EQ(flaw_in(compile(mlp_model(3, 6, 17).graph, choices, Profile()).plan), std::nullopt) << choices.mesh.str();
  }
}

TEST(Emit, PlansAreTheSameBytesFromRunToRunAndOnAnyThread) {
  GptShape shape{.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = 4};
  const auto bytes = [&] {
    return serialize(compile(gpt_model(shape).graph, choices_on({{"dp", 2}, {"tp", 2}}, 8), Profile()).plan);
  };
  const std::vector<std::byte> first = bytes();
  std::vector<std::vector<std::byte>> others(4);
  std::vector<std::thread> threads;
  for (auto& other : others) threads.emplace_back([&] { other = bytes(); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& other : others) EXPECT_TRUE(other == first);
}

TEST(Emit, EveryDeviceNamesTheShardsOfItsRounds) {
  const Plan plan = compile(mlp_model(1, 9, 4).graph, choices_on({{"dp", 3}}, 8), Profile()).plan;
  EXPECT_EQ(plan.rounds, 3);
  std::string text;
  for (const PlanTask& task : plan.tasks) {
    if (task.kind != TaskKind::source) continue;
    text += plan.devices[task.device.index()].name + " " + std::to_string(task.first_shard) + "+" +
            std::to_string(task.shards) + "\n";
  }
  EXPECT_EQ(text, "cpu:0 0+3\ncpu:1 3+3\ncpu:2 6+2\n");
}

TEST(Emit, AVariableThatNobodyWritesLiesOnEveryDevice) {
  Graph graph;
  const ValueId w = graph.variable("w", DType::f32, {8, 4});
  graph.pin({w, "tp", S(0), {}, ""});
  graph.output("y", graph.add("exp", {w}, {}, "y").front());
  const Plan plan = compile(graph, choices_on({{"tp", 2}}), Profile()).plan;
  ASSERT_EQ(plan.variables.size(), 1u);
  for (int d = 0; d < 2; ++d) {
    const PlanRegister& reg = plan.reg(plan.variables[0].parts[static_cast<size_t>(d)].reg);
    EXPECT_FALSE(reg.producer.valid());
    EXPECT_EQ(reg.device, DeviceId(d));
    EXPECT_EQ(reg.offset, (Dims{4 * d, 0}));
  }
}

}  // namespace
}  // namespace troupe
