// How many collectives a training step takes, of models whose counts are known.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"

namespace troupe {
namespace {

// "5 all_reduce on tp, 1 all_reduce on dp", in the order of the plan's traffic; scalars do not count.
std::string collectives(const Graph& graph, const Choices& choices) {
  std::string text;
  for (const PlanTraffic& row : compile(graph, choices, Profile()).plan.promise.traffic) {
    if (row.count == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(row.count) + " " + row.kind + " on " + row.axis;
  }
  return text.empty() ? "none" : text;
}

void keep_whole(ModelBuilder& model, const std::string& axis) { model.pin("", axis, B); }

// The planner would rather keep activations split between a row and a column (they are worked on once instead of by
// all); these are the layouts that the rows of the table mean.
void keep_activations_whole(ModelBuilder& model, const std::vector<std::string>& values) {
  for (const std::string& value : values) model.pin_value(value, "tp", B);
}

ModelBuilder megatron_mlp(int64_t batch, int64_t hidden) {
  ModelBuilder model = mlp_model(6, batch, hidden);
  model.megatron("tp", {"layers.0", "layers.2", "layers.4"}, {"layers.1", "layers.3", "layers.5"});
  keep_activations_whole(
      model,
      {"layers.1.linear", "layers.3.linear", "layers.5.linear", "layers.2.linear.grad.linear_input_gradient",
       "layers.4.linear.grad.linear_input_gradient", "loss.square.grad.mul_scalar", "loss.reduce_sum.grad.expand"});
  return model;
}

ModelBuilder megatron_bert() {
  ModelBuilder model = bert_model(2, 8, 8, 128, 8);
  split_blocks(model, "tp");
  keep_activations_whole(model, {".out.linear", ".down.linear", ".up.linear.grad.linear_input_gradient", ".grad.add_n",
                                 "loss.square.grad.mul_scalar", "loss.reduce_sum.grad.expand"});
  return model;
}

TEST(CollectiveCounts, MlpDataParallel) {
  ModelBuilder model = mlp_model(6, 256, 32);
  keep_whole(model, "dp");
  EXPECT_EQ(collectives(model.graph, choices_on({{"dp", 4}})), "1 all_reduce on dp");
}

TEST(CollectiveCounts, MlpZero2) {
  ModelBuilder model = mlp_model(6, 256, 32);
  Choices choices = choices_on({{"dp", 4}});
  model.zero("dp", choices, false);
  EXPECT_EQ(collectives(model.graph, choices), "1 all_gather on dp, 1 reduce_scatter on dp");
}

TEST(CollectiveCounts, MlpZero3GathersForEachPass) {
  ModelBuilder model = mlp_model(6, 256, 32);
  Choices choices = choices_on({{"dp", 4}});
  model.zero("dp", choices, true);
  EXPECT_EQ(collectives(model.graph, choices), "2 all_gather on dp, 1 reduce_scatter on dp");
}

TEST(CollectiveCounts, HybridShardingScattersWithinAndReducesAcross) {
  ModelBuilder model = mlp_model(6, 256, 32);
  Choices choices = choices_on({{"dp", 2}, {"fsdp", 4}});
  keep_whole(model, "dp");
  model.zero("fsdp", choices, true);
  EXPECT_EQ(collectives(model.graph, choices), "2 all_gather on fsdp, 1 all_reduce on dp, 1 reduce_scatter on fsdp");
}

TEST(CollectiveCounts, MlpMegatron) {
  EXPECT_EQ(collectives(megatron_mlp(32, 256).graph, choices_on({{"tp", 4}})), "5 all_reduce on tp");
}

TEST(CollectiveCounts, MlpDataAndTensorParallel) {
  ModelBuilder model = megatron_mlp(256, 32);
  keep_whole(model, "dp");
  EXPECT_EQ(collectives(model.graph, choices_on({{"dp", 2}, {"tp", 2}})), "1 all_reduce on dp, 5 all_reduce on tp");
}

TEST(CollectiveCounts, BertMegatron) {
  EXPECT_EQ(collectives(megatron_bert().graph, choices_on({{"tp", 4}})), "7 all_reduce on tp");
}

TEST(CollectiveCounts, BertMegatronWithRecompute) {
  Choices choices = choices_on({{"tp", 4}});
  choices.recompute = {"blocks.0", "blocks.1"};
  EXPECT_EQ(collectives(megatron_bert().graph, choices), "11 all_reduce on tp");
}

TEST(CollectiveCounts, BertDataAndTensorParallel) {
  ModelBuilder model = megatron_bert();
  keep_whole(model, "dp");
  EXPECT_EQ(collectives(model.graph, choices_on({{"dp", 2}, {"tp", 2}})), "1 all_reduce on dp, 7 all_reduce on tp");
}

TEST(CollectiveCounts, ExpertsSplitTheRestDataParallel) {
  ModelBuilder model = experts_model({});
  split_experts(model, "ep");
  EXPECT_EQ(collectives(model.graph, choices_on({{"ep", 4}})), "1 all_reduce on ep, 4 all_to_all on ep");
}

TEST(CollectiveCounts, ExpertsWithoutDroppingAlsoSendHowManyTokensThereAre) {
  ModelBuilder model = experts_model({.dropless = true});
  split_experts(model, "ep");
  EXPECT_EQ(collectives(model.graph, choices_on({{"ep", 4}})), "1 all_reduce on ep, 5 all_to_all on ep");
}

struct Product {
  Graph graph;
  ValueId a = graph.variable("a", DType::f32, {64, 128});
  ValueId b = graph.variable("b", DType::f32, {128, 96});
  ValueId y;
  Product() {
    graph.set_role(Role::update);
    y = graph.add("matmul", {a, b}, {}, "y").front();
    graph.output("y", y);
  }
  void pin(ValueId value, const std::string& axis, Sbp sbp) { graph.pin({value, axis, sbp, {}, ""}); }
};

const std::vector<Axis> kTwoByTwo = {{"rows", 2}, {"columns", 2}};

TEST(CollectiveCounts, AProductSplitByItsRowsAndColumnsNeedsNone) {
  Product product;
  product.pin(product.a, "rows", S(0));
  product.pin(product.a, "columns", B);
  product.pin(product.b, "rows", B);
  product.pin(product.b, "columns", S(1));
  EXPECT_EQ(collectives(product.graph, choices_on(kTwoByTwo)), "none");
}

TEST(CollectiveCounts, AProductSplitByItsInnerDimIsReducedOnce) {
  Product product;
  for (ValueId value : {product.a, product.b, product.y}) product.pin(value, "columns", B);
  product.pin(product.a, "rows", S(1));
  product.pin(product.b, "rows", S(0));
  product.pin(product.y, "rows", B);
  EXPECT_EQ(collectives(product.graph, choices_on(kTwoByTwo)), "1 all_reduce on rows");
}

TEST(CollectiveCounts, AProductWantedInPartsIsScatteredOnce) {
  Product product;
  for (ValueId value : {product.a, product.b, product.y}) product.pin(value, "columns", B);
  product.pin(product.a, "rows", S(1));
  product.pin(product.b, "rows", S(0));
  product.pin(product.y, "rows", S(0));
  EXPECT_EQ(collectives(product.graph, choices_on(kTwoByTwo)), "1 reduce_scatter on rows");
}

}  // namespace
}  // namespace troupe
