// Random numbers depend on the node, the run, the step and the piece, and on nothing else.

#include "runtime/base/random.h"

#include <gtest/gtest.h>

#include "ops/graph.h"
#include "ops/interpret.h"

namespace troupe {
namespace {

HostTensor ones(const Shape& shape) {
  HostTensor tensor({DType::f64, shape});
  tensor.set_numbers(std::vector<double>(static_cast<size_t>(shape.elements()), 1.0));
  return tensor;
}

HostTensor dropped(const Firing& firing, uint64_t key = 1, const Attrs& attrs = {{"p", 0.5}}) {
  const HostTensor x[] = {ones({8, 8})};
  return run_op(*find_op("dropout"), attrs, x, {key, firing})[0];
}

TEST(Dropout, DrawsAnewForEveryStepShardPieceSeedAndNode) {
  const HostTensor first = dropped({.step = 1, .shard = 2, .piece = 3, .seed = 4});
  EXPECT_EQ(dropped({.step = 1, .shard = 2, .piece = 3, .round = 9, .seed = 4}), first) << "the round is no part of it";
  EXPECT_NE(dropped({.step = 2, .shard = 2, .piece = 3, .seed = 4}), first);
  EXPECT_NE(dropped({.step = 1, .shard = 3, .piece = 3, .seed = 4}), first);
  EXPECT_NE(dropped({.step = 1, .shard = 3, .piece = 2, .seed = 4}), first);
  EXPECT_NE(dropped({.step = 1, .shard = 2, .piece = 3, .seed = 5}), first);
  EXPECT_NE(dropped({.step = 1, .shard = 2, .piece = 3, .seed = 4}, 2), first);
}

TEST(Dropout, WithAKeyDrawsTheNumbersOfThatNode) {
  const Firing firing{.step = 1, .seed = 4};
  EXPECT_EQ(dropped(firing, 99, {{"p", 0.5}, {"key", int64_t{1}}}), dropped(firing, 1));
}

TEST(Dropout, KeepsTheExpectedShareAndScalesIt) {
  const HostTensor x[] = {ones({100, 100})};
  const HostTensor y = run_op(*find_op("dropout"), {{"p", 0.25}}, x, {.key = 5})[0];
  int64_t kept = 0;
  for (double number : y.as<double>()) {
    EXPECT_TRUE(number == 0 || number == 1 / 0.75);
    kept += number != 0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(kept), 7500, 200);
}

TEST(Dropout, DropsTheSameElementsOnTheWayBack) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f64, {6, 6}, false);
  const ValueId y = graph.add("dropout", {x}, {{"p", 0.5}}, "block").front();
  const ValueId loss = graph.add("reduce_sum", {y}, {{"dims", std::vector<int64_t>{0, 1}}}).front();
  const ValueId dx = graph.gradients(loss, {x}).front();
  // x is one everywhere and the loss a sum, so the gradient equals y.
  const std::vector<HostTensor> found =
      interpret(graph, {{x, ones({6, 6})}}, std::vector{y, dx}, {.step = 3, .shard = 1, .seed = 8});
  EXPECT_EQ(found[0], found[1]);
}

TEST(RandomNormal, IsTheSameInEveryStepAndAnotherInEveryRun) {
  const Attrs attrs = {{"shape", std::vector<int64_t>{4}}, {"dtype", std::string("f64")}, {"mean", 0.0}, {"std", 1.0}};
  const auto drawn = [&](const Firing& firing) { return run_op(*find_op("random_normal"), attrs, {}, {1, firing})[0]; };
  EXPECT_EQ(drawn({.step = 1, .seed = 1}), drawn({.step = 2, .piece = 1, .seed = 1}));
  EXPECT_NE(drawn({.seed = 1}), drawn({.seed = 2}));
}

}  // namespace
}  // namespace troupe
