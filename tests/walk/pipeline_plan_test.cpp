// What is known about a pipeline before it runs: its bubble, what each stage holds, how many slots stages need between
// them.

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "planner/compile.h"
#include "planner/test_models.h"

namespace troupe {
namespace {

// Products alone take time.
Profile products_only() {
  Profile profile;
  profile.memory_bytes_per_s = 1e30;
  profile.firing_s = 0;
  return profile;
}

// Equal layers, so many in each chunk.
Compiled compile_mlp(const std::vector<int>& layers_of_chunk, Schedule schedule, int pieces, int send_slots = 0) {
  const int chunks = static_cast<int>(layers_of_chunk.size());
  const int stages = schedule == Schedule::interleaved ? chunks / 2 : chunks;
  Choices choices = choices_on({{"pp", stages}}, pieces);
  for (Link& link : choices.topology.links) link = {1e30, 0};
  choices.cut_stages("pp");
  Pipeline& pipeline = choices.pipeline;
  pipeline.schedule = schedule;
  pipeline.chunks = chunks;
  pipeline.send_slots = send_slots;
  int layer = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    for (int i = 0; i < layers_of_chunk[static_cast<size_t>(chunk)]; ++i) {
      pipeline.chunk_of["layers." + std::to_string(layer++)] = chunk;
    }
  }
  return compile(mlp_model(layer, 8, 32).graph, choices, products_only());
}

// The first layer has no gradient of its input: its stage has less to do, by a third of a layer.
TEST(PipelinePlans, BubblesAreThoseOfTheSchedule) {
  const int layers = 32;
  for (int stages : {2, 4}) {
    const std::vector<int> even(static_cast<size_t>(stages), layers / stages);
    for (int pieces : {stages, 3 * stages}) {
      const double bubble = (stages - 1.0) / (stages - 1.0 + pieces);
      EXPECT_NEAR(compile_mlp(even, Schedule::gpipe, pieces).summary.bubble, bubble, 0.04);
      EXPECT_NEAR(compile_mlp(even, Schedule::one_f_one_b, pieces).summary.bubble, bubble, 0.04);
      const double zero_bubble = (stages - 1.0) / (stages - 1.0 + 3 * pieces);
      EXPECT_NEAR(compile_mlp(even, Schedule::zero_bubble, pieces).summary.bubble, zero_bubble, 0.04);
      const std::vector<int> half(static_cast<size_t>(2 * stages), layers / stages / 2);
      const double interleaved = (stages - 1.0) / (stages - 1.0 + 2 * pieces);
      EXPECT_NEAR(compile_mlp(half, Schedule::interleaved, pieces).summary.bubble, interleaved, 0.04);
    }
  }
}

// The slots of what passes from a stage's forward to its backward passes.
int slots_held(const Compiled& compiled, int device) {
  int most = 0;
  for (const PlanRegister& reg : compiled.plan.registers) {
    if (reg.is_control() || reg.device != DeviceId(device) || reg.arena != ArenaKind::workspace) continue;
    most = std::max(most, reg.slot_count);
  }
  return most;
}

TEST(PipelinePlans, AStageHoldsAsManyPiecesAsItsScheduleSays) {
  const std::vector<int> even = {4, 4, 4, 4};
  const Compiled gpipe = compile_mlp(even, Schedule::gpipe, 12, 2);
  const Compiled one_f_one_b = compile_mlp(even, Schedule::one_f_one_b, 12, 1);
  for (int stage = 0; stage < 4; ++stage) {
    EXPECT_EQ(slots_held(gpipe, stage), 12);
    EXPECT_EQ(slots_held(one_f_one_b, stage), 4 - stage);
    EXPECT_LT(one_f_one_b.summary.memory[static_cast<size_t>(stage)].activations,
              gpipe.summary.memory[static_cast<size_t>(stage)].activations);
  }
}

TEST(PipelinePlans, TheSlotsBetweenStagesAreTheFewestThatPay) {
  std::set<int> found;
  for (const std::vector<int>& layers :
       {std::vector<int>{4, 4, 4, 4}, {1, 6, 2, 7}, {7, 1, 6, 2}, {1, 1, 1, 1, 9, 1, 1, 1}}) {
    for (Schedule schedule : {Schedule::gpipe, Schedule::one_f_one_b, Schedule::zero_bubble, Schedule::interleaved}) {
      const Compiled chosen = compile_mlp(layers, schedule, 12);
      const int slots = chosen.summary.send_slots;
      const double step_s = chosen.summary.cycle_s;
      found.insert(slots);
      for (int more : {1, 4}) {
        EXPECT_NEAR(compile_mlp(layers, schedule, 12, slots + more).summary.cycle_s, step_s, step_s * 1e-6);
      }
      if (slots == 1) continue;
      EXPECT_GT(compile_mlp(layers, schedule, 12, slots - 1).summary.cycle_s, step_s * (1 + 1e-6));
    }
  }
  EXPECT_GT(found.size(), 1u) << "in every one of them a single slot is enough";
}

TEST(PipelinePlans, ADeviceOfSeveralStagesNeedsTheMemoryOfAll) {
  const Graph graph = mlp_model(3, 8, 32).graph;
  Choices choices = choices_on({{"tp", 2}, {"pp", 3}}, 6);
  cut_pipeline(choices, {"layers.0", "layers.1", "layers.2"}, Schedule::one_f_one_b);
  choices.pipeline.send_slots = 1;
  const auto needs = [&](const std::vector<std::vector<int>>& devices_of_stage) {
    put_stages_on(choices, devices_of_stage);
    const Compiled compiled = compile(graph, choices, Profile());
    std::vector<int64_t> bytes;
    for (const PlanDevice& device : compiled.plan.devices) {
      bytes.push_back(std::accumulate(std::begin(device.arena_bytes), std::end(device.arena_bytes), int64_t{0}));
      EXPECT_EQ(compiled.summary.memory[bytes.size() - 1].total(), bytes.back()) << device.name;
    }
    return bytes;
  };
  const std::vector<int64_t> apart = needs({{0, 1}, {2, 3}, {4, 5}});
  const std::vector<int64_t> shared = needs({{0, 1}, {1, 2}, {3, 1}});
  EXPECT_EQ(shared, (std::vector<int64_t>{apart[0], apart[1] + apart[2] + apart[5], apart[3], apart[4]}));
  choices.memory_bytes = shared[1];
  EXPECT_EQ(compile(graph, choices, Profile()).plan.devices[1].name, "cpu:1");
  --choices.memory_bytes;
  try {
    compile(graph, choices, Profile());
    FAIL();
  } catch (const PlanError& error) {
    const std::string memory = "memory=" + std::to_string(shared[1]);
    EXPECT_NE(std::string(error.what()).find("on cpu:1 at its peak"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(memory), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace troupe
