// Recompute: the same numbers from less memory.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int kSteps = 3;
constexpr int64_t kBatch = 8;

Batches batches() { return {{"x", random_numbers("x", {kBatch, 24})}}; }

// Blocks of two layers with dropout between.
ModelBuilder dropout_model(int64_t rows) {
  ModelBuilder model;
  ValueId x = model.graph.source("x", DType::f32, {rows, 24}, true);
  for (int block = 0; block < 4; ++block) {
    const std::string name = "blocks." + std::to_string(block);
    for (const char* layer : {".a", ".b"}) {
      const ValueId y = model.add("gelu", {model.linear(x, name + layer, 24, 24)}, {}, name);
      x = model.add("add", {x, model.add("dropout", {y}, {{"p", 0.3}}, name)}, {}, name);
    }
  }
  model.train(model.sum_all(model.add("square", {x}, {}, "loss")), true);
  return model;
}

Trained train_case(const std::vector<Axis>& axes, const std::vector<std::string>& modules, bool zero = false) {
  Choices choices = choices_on(axes, 4);
  if (choices.mesh.find_axis("pp") >= 0) {
    cut_pipeline(choices, {"blocks.0", "blocks.1", "blocks.2", "blocks.3"}, Schedule::one_f_one_b);
  }
  choices.recompute = modules;
  ModelBuilder model = dropout_model(kBatch / 4 * choices.data_parallel_size());
  if (zero) model.zero("dp", choices, true);
  return train(model.graph, choices, batches(), kSteps, {.executors = 2});
}

void expect_same_bits(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  for (const auto& [name, value] : a.variables) EXPECT_TRUE(value == b.variables.at(name)) << name;
}

TEST(Recompute, ChangesNoBitAlsoOfDropout) {
  const Trained kept = train_case({{"dp", 1}}, {});
  const std::vector<std::string> all = {"blocks.0", "blocks.1", "blocks.2", "blocks.3"};
  expect_same_bits(train_case({{"dp", 1}}, all), kept);
  expect_same_bits(train_case({{"dp", 1}}, {"blocks.2"}), kept);
  expect_same_bits(train_case({{"dp", 1}}, {"blocks"}), kept);
  expect_same_bits(train_case({{"dp", 2}}, all, true), kept);
  expect_same_bits(train_case({{"pp", 2}}, all), kept);
  expect_same_bits(train_case({{"dp", 2}, {"pp", 2}}, all, true), kept);
}

TEST(Recompute, HoldsWhatEntersModulesAndOneModuleAtATime) {
  const auto activations = [](const std::vector<std::string>& modules) {
    Choices choices = choices_on({{"dp", 1}});
    choices.recompute = modules;
    const GptShape shape{.vocab = 64, .layers = 8, .dim = 32, .heads = 4, .seq = 32, .rows = 8};
    return compile(gpt_model(shape).graph, choices, Profile()).summary.memory.front().activations;
  };
  std::vector<std::string> all;
  for (int block = 0; block < 8; ++block) all.push_back("blocks." + std::to_string(block));
  EXPECT_LT(activations(all), activations({}) * 2 / 5);
  EXPECT_LT(activations({"blocks.0", "blocks.1"}), activations({}));
}

TEST(Recompute, APathWithoutNodesIsRefused) { EXPECT_THROW(train_case({{"dp", 1}}, {"blocks.9"}), PlanError); }

}  // namespace
}  // namespace troupe
