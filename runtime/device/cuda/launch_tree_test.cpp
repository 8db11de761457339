#include "runtime/device/cuda/launch_tree.h"

#include <gtest/gtest.h>

#include <string>

namespace troupe {
namespace {

void kernel(const KernelArgs&, Stream&) {}
void other_kernel(const KernelArgs&, Stream&) {}

// A launch with two views, and what may differ between launches.
struct Launch {
  std::byte memory[64];
  std::string failure;
  Attrs attrs;
  KernelReport report;
  std::vector<TensorView> views{2};
  KernelArgs args;

  Launch() {
    for (size_t i = 0; i < views.size(); ++i) {
      views[i].data = memory + 8 * i;
      views[i].shape = views[i].logical = Shape{2, 3};
      views[i].offset = Dims{0, 0};
    }
    args.inputs = std::span<const TensorView>(views).first(1);
    args.outputs = std::span<const TensorView>(views).last(1);
    args.scratch = std::span(memory).subspan(32, 16);
    args.attrs = &attrs;
    args.report = &report;
    args.failure = &failure;
    args.task = 7;
  }
};

TEST(LaunchTree, ARunThatCameOnceIsKnown) {
  Launch launch;
  LaunchTree tree;
  EXPECT_FALSE(tree.follow(kernel, launch.args));
  tree.grow(kernel, launch.args);
  EXPECT_FALSE(tree.is_known());
  launch.args.task = 8;
  EXPECT_FALSE(tree.follow(kernel, launch.args));
  tree.grow(kernel, launch.args);
  const LaunchNode* end = &tree.at();
  tree.end_run();

  launch.args.firing.step = 5;  // another step is the same launch
  launch.args.task = 7;
  EXPECT_TRUE(tree.follow(kernel, launch.args));
  launch.args.task = 8;
  EXPECT_TRUE(tree.follow(kernel, launch.args));
  EXPECT_TRUE(tree.is_known());
  EXPECT_EQ(&tree.at(), end);
  ASSERT_EQ(tree.path().size(), 2u);
  EXPECT_EQ(tree.path()[1], end);
  EXPECT_EQ(tree.path()[0], end->before());
}

TEST(LaunchTree, WhatComesAfterSomethingNewIsNotFollowed) {
  Launch launch;
  LaunchTree tree;
  tree.grow(kernel, launch.args);
  tree.end_run();
  tree.grow(other_kernel, launch.args);
  EXPECT_FALSE(tree.follow(kernel, launch.args));
}

TEST(LaunchTree, ALaunchThatFailsIsNotRemembered) {
  Launch launch;
  LaunchTree tree;
  tree.grow(kernel, launch.args);
  tree.grow(other_kernel, launch.args);
  tree.abandon_run();
  EXPECT_TRUE(tree.follow(kernel, launch.args));
  EXPECT_FALSE(tree.follow(other_kernel, launch.args));
  tree.abandon_run();
  EXPECT_FALSE(tree.follow(kernel, launch.args));
  tree.abandon_run();  // of nothing
}

TEST(LaunchTree, RunsThatBeginAlikeShareTheirBeginning) {
  Launch launch;
  LaunchTree tree;
  tree.grow(kernel, launch.args);
  const LaunchNode* first = &tree.at();
  tree.grow(kernel, launch.args);
  tree.end_run();
  ASSERT_TRUE(tree.follow(kernel, launch.args));
  ASSERT_FALSE(tree.follow(other_kernel, launch.args));
  EXPECT_EQ(tree.grow(other_kernel, launch.args).before(), first);
  tree.end_run();
  for (const Kernel last : {kernel, other_kernel, kernel}) {
    ASSERT_TRUE(tree.follow(kernel, launch.args));
    ASSERT_TRUE(tree.follow(last, launch.args));
    tree.end_run();
  }
}

TEST(LaunchTree, AnythingButTheStepMakesAnotherLaunch) {
  Launch launch;
  LaunchTree tree;
  tree.grow(kernel, launch.args);
  const auto is_new = [&](auto change) {
    Launch other;
    other.args = launch.args;
    other.views = launch.views;
    other.args.inputs = std::span<const TensorView>(other.views).first(launch.args.inputs.size());
    other.args.outputs = std::span<const TensorView>(other.views).subspan(launch.args.inputs.size());
    change(other);
    tree.end_run();
    return !tree.follow(kernel, other.args);
  };
  EXPECT_FALSE(is_new([](Launch&) {}));
  EXPECT_FALSE(is_new([](Launch& l) { l.args.firing.step = 9; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.firing.shard = 1; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.firing.piece = 1; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.firing.round = 1; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.firing.seed = 1; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.task = 8; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.key = 1; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.attrs = &l.attrs; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.report = &l.report; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.failure = &l.failure; }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.scratch = l.args.scratch.first(8); }));
  EXPECT_TRUE(is_new([](Launch& l) { l.args.scratch = std::span(l.memory).first(16); }));
  for (const size_t i : {0, 1}) {
    EXPECT_TRUE(is_new([i](Launch& l) { l.views[i].data = l.memory; }));
    EXPECT_TRUE(is_new([i](Launch& l) { l.views[i].dtype = DType::f64; }));
    EXPECT_TRUE(is_new([i](Launch& l) { l.views[i].shape = Shape{3, 2}; }));
    EXPECT_TRUE(is_new([i](Launch& l) { l.views[i].offset = Dims{1, 0}; }));
    EXPECT_TRUE(is_new([i](Launch& l) { l.views[i].logical = Shape{4, 3}; }));
  }
  // The same views, one of them on the other side.
  EXPECT_TRUE(is_new([](Launch& l) {
    l.args.inputs = l.views;
    l.args.outputs = {};
  }));
}

TEST(LaunchTree, KeepsWhatALaunchPointsTo) {
  LaunchTree tree;
  {
    Launch launch;
    tree.grow(
        [](const KernelArgs& args, Stream&) {
          EXPECT_EQ(args.inputs[0].shape, (Shape{2, 3}));
          EXPECT_EQ(args.outputs.size(), 1u);
          EXPECT_EQ(args.firing.step, -1);
        },
        launch.args);
    for (TensorView& view : launch.views) view = {};
  }
  Stream stream;
  tree.path()[0]->run(stream);
}

TEST(LaunchTree, ForgetsAllWhenItIsFull) {
  Launch launch;
  LaunchTree tree;
  for (size_t i = 0; i <= LaunchTree::kMostNodes; ++i) {
    launch.args.key = i;
    tree.grow(kernel, launch.args);
    if (i % 100 == 99 && i < LaunchTree::kMostNodes) tree.end_run();
  }
  launch.args.key = 0;
  tree.end_run();
  EXPECT_FALSE(tree.follow(kernel, launch.args));
}

}  // namespace
}  // namespace troupe
