#include "planner/shard.h"

#include <gtest/gtest.h>

#include "planner/box.h"
#include "planner/compile.h"
#include "planner/deduce.h"
#include "planner/pieces.h"
#include "planner/test_models.h"

namespace troupe {
namespace {

TaskGraph sharded(const Graph& graph, const Choices& choices) {
  const Program program = pieces(graph);
  return shard(box(program, deduce(program, choices, Profile()), choices), choices, Profile());
}

Graph product(int64_t rows) {
  Graph graph;
  graph.set_role(Role::update);
  const ValueId a = graph.variable("a", DType::f32, {rows, 64});
  const ValueId b = graph.variable("b", DType::f32, {64, 64});
  graph.pin({a, "tp", S(0), {}, ""});
  graph.pin({b, "tp", B, {}, ""});
  graph.output("y", graph.add("matmul", {a, b}, {}, "y").front());
  return graph;
}

TEST(Shard, DevicesWithEqualPartsAreOneClass) {
  EXPECT_EQ(sharded(product(64), choices_on({{"tp", 4}})).positions, (std::vector<std::vector<int>>{{0, 1, 2, 3}}));
}

TEST(Shard, DevicesWithLongerAndEmptyPartsAreClassesOfTheirOwn) {
  const TaskGraph uneven = sharded(product(66), choices_on({{"tp", 4}}));
  EXPECT_EQ(uneven.positions, (std::vector<std::vector<int>>{{0, 1}, {2, 3}}));
  EXPECT_EQ(uneven.registers.front().shapes, (std::vector<Shape>{{17, 64}, {16, 64}}));
  const TaskGraph empty = sharded(product(2), choices_on({{"tp", 4}}));
  EXPECT_EQ(empty.positions, (std::vector<std::vector<int>>{{0, 1}, {2, 3}}));
  EXPECT_EQ(empty.registers.front().shapes, (std::vector<Shape>{{1, 64}, {0, 64}}));
}

TEST(Shard, DevicesWithMoreBatchShardsAreAClassOfTheirOwn) {
  ModelBuilder model = mlp_model(1, 9, 8);
  EXPECT_EQ(sharded(model.graph, choices_on({{"dp", 3}}, 8)).positions, (std::vector<std::vector<int>>{{0, 1}, {2}}));
}

TEST(Shard, ALargeAllReduceIsAddedInSlicesAndJoinedASmallOneIsOneTask) {
  const auto tasks = [](int64_t rows) { return sharded(summed_product(rows, 64, 64), choices_on({{"tp", 4}})).str(); };
  EXPECT_NE(tasks(128).find(R"(piece y.matmul@1.slice = pull(y.matmul) sliced
piece y.matmul@1 = pull(y.matmul@1.slice) joined
)"),
            std::string::npos)
      << tasks(128);
  EXPECT_NE(tasks(16).find("piece y.matmul@1 = pull(y.matmul) pulled\n"), std::string::npos) << tasks(16);
}

TEST(Shard, WhatPiecesReadOfTheStepRunsBeforeThem) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 4}, true);
  const ValueId w = graph.variable("w", DType::f32, {4, 4});
  const ValueId twice = graph.add("mul_scalar", {w}, {{"value", 2.0}}, "twice").front();
  graph.output("y", graph.add("linear", {x, twice}, {}, "y").front());
  EXPECT_EQ(sharded(graph, choices_on({{"dp", 1}}, 2)).str(), R"(before twice.mul_scalar = mul_scalar(w)
piece x = x()
piece y.linear = linear(x, twice.mul_scalar)
piece y = to_layout(y.linear)
class 0: positions 0
)");
}

}  // namespace
}  // namespace troupe
