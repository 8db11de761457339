// Parameters, gradients and optimizer state in parts along data axes: the same numbers, less memory.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int kSteps = 3;
constexpr int64_t kBatch = 24;
constexpr int kShards = 12;

GptShape small(int64_t rows) { return {.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = rows}; }

Batches batches() { return {{"x", random_ids("x", {kBatch, 6}, 13)}, {"y", random_ids("y", {kBatch, 6}, 13)}}; }

enum class Stored : uint8_t { whole, gathered_per_step, gathered_per_pass };

struct Case {
  std::vector<Axis> axes;
  Stored stored;
  int shards = kShards;
  int pieces = 1;
};

Compiled compile_case(const Case& c, Graph* graph = nullptr) {
  Choices choices = choices_on(c.axes, c.shards, c.pieces);
  ModelBuilder model = gpt_model(small(kBatch / c.shards / c.pieces * choices.data_parallel_size()));
  if (choices.mesh.find_axis("tp") >= 0) split_blocks(model, "tp");
  const std::string axis = choices.mesh.find_axis("fsdp") >= 0 ? "fsdp" : "dp";
  if (c.stored == Stored::whole) model.pin("", axis, B);
  if (c.stored != Stored::whole) model.zero(axis, choices, c.stored == Stored::gathered_per_pass);
  if (graph != nullptr) *graph = model.graph;
  return compile(model.graph, choices, Profile());
}

Trained train_case(const Case& c) {
  Graph graph;
  const Compiled compiled = compile_case(c, &graph);
  return run_plan(graph, compiled.plan, batches(), kSteps, {.executors = 2});
}

void expect_same_bits(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  for (const auto& [name, value] : a.variables) EXPECT_TRUE(value == b.variables.at(name)) << name;
}

TEST(Zero, KeepsTheBitsOfOneDeviceOnAnyDataAxes) {
  const Trained one = train_case({{{"dp", 1}}, Stored::whole});
  const std::vector<std::vector<Axis>> meshes = {{{"dp", 2}},
                                                 {{"dp", 3}},
                                                 {{"dp", 5}},
                                                 {{"dp", 12}},
                                                 {{"dp", 2}, {"fsdp", 2}},
                                                 {{"dp", 3}, {"fsdp", 4}},
                                                 {{"dp", 2}, {"fsdp", 4}},
                                                 {{"dp", 2}, {"fsdp", 3}}};
  for (const std::vector<Axis>& axes : meshes) {
    for (Stored stored : {Stored::whole, Stored::gathered_per_step, Stored::gathered_per_pass}) {
      SCOPED_TRACE(testing::Message() << Mesh(axes).str() << " stored " << static_cast<int>(stored));
      expect_same_bits(train_case({axes, stored}), one);
    }
  }
}

TEST(Zero, SeveralPiecesPerShardKeepTheBits) {
  const Trained one = train_case({{{"dp", 1}}, Stored::whole, 4, 3});
  expect_same_bits(train_case({{{"dp", 4}}, Stored::gathered_per_pass, 4, 3}), one);
  expect_same_bits(train_case({{{"dp", 3}}, Stored::gathered_per_step, 4, 3}), one);
}

TEST(Zero, WithTensorParallelismChangesNoBit) {
  const std::vector<Axis> axes = {{"dp", 2}, {"tp", 2}};
  const Trained whole = train_case({axes, Stored::whole});
  expect_same_bits(train_case({axes, Stored::gathered_per_step}), whole);
  expect_same_bits(train_case({axes, Stored::gathered_per_pass}), whole);
}

// A dim that both axes split is split by tp first: each gathers it by itself.
TEST(Zero, UnderTensorParallelismEveryGatherIsOneCollective) {
  Choices choices = choices_on({{"dp", 4}, {"tp", 2}});
  ModelBuilder model = mlp_model(4, 16, 256);
  model.megatron("tp", {"layers.0", "layers.2"}, {"layers.1", "layers.3"});
  model.zero("dp", choices, true);
  const Compiled compiled = compile(model.graph, choices, Profile());
  EXPECT_NE(compiled.stages.at("box").find("S(0),S(0) order tp>dp"), std::string::npos);
  EXPECT_EQ(compiled.stages.at("box").find("exchange"), std::string::npos) << compiled.stages.at("box");
}

TEST(Zero, StoresAPartOfWhatDataParallelismStores) {
  const auto memory = [](Stored how) {
    Choices choices = choices_on({{"dp", 4}});
    ModelBuilder model = mlp_model(8, 16, 256);
    if (how == Stored::whole) model.pin("", "dp", B);
    if (how != Stored::whole) model.zero("dp", choices, how == Stored::gathered_per_pass);
    return compile(model.graph, choices, Profile()).summary.memory.front();
  };
  const MemoryByKind whole = memory(Stored::whole);
  const MemoryByKind per_step = memory(Stored::gathered_per_step);
  const MemoryByKind per_pass = memory(Stored::gathered_per_pass);
  EXPECT_LT(per_step.parameters + per_step.optimizer, (whole.parameters + whole.optimizer) * 26 / 100);
  EXPECT_EQ(per_pass.parameters + per_pass.optimizer, per_step.parameters + per_step.optimizer);
  // Of eight layers, all are whole at a time, or the one that is worked on.
  EXPECT_LT(per_pass.activations + per_pass.gradients, (per_step.activations + per_step.gradients) / 2);
}

}  // namespace
}  // namespace troupe
