#include "actors/engine/crossings.h"

#include <gtest/gtest.h>

#include "actors/engine/plan_builder.h"

namespace troupe {
namespace {

void nothing(const KernelArgs&, Stream&) {}

// The first `elements` of an input, as an attribute says.
std::vector<ByteRuns> first_elements(const Attrs& attrs, size_t, const TensorView& input) {
  const auto each = static_cast<int64_t>(size_of(input.dtype));
  return {{0, each * attrs.integer("elements", 0), 1, 0}};
}

// Beyond the input.
std::vector<ByteRuns> too_much(const Attrs&, size_t, const TensorView& input) { return {{8, input.bytes(), 1, 0}}; }

KernelTable kernels() {
  KernelTable table;
  table.add("all", DeviceKind::cpu, nothing);
  table.add("some", DeviceKind::cpu, nothing, first_elements);
  table.add("too much", DeviceKind::cpu, nothing, too_much);
  return table;
}

// "made" of 4 elements on the first device, and whoever reads it.
struct Graph {
  Graph() {
    for (const char* name : {"cpu:0", "cpu:1", "cpu:2"}) streams.push_back(builder.stream(builder.device(name), "s"));
    producer = builder.task(streams[0], "produce", "all");
    made = builder.output(producer, {.name = "made", .elements = 4});
  }
  TaskId reader(size_t device, const std::string& kernel, int64_t elements = 0) {
    const TaskId task = builder.task(streams[device], "read" + std::to_string(count++), kernel);
    builder.at(task).attrs.set("elements", elements);
    builder.read(task, made);
    return task;
  }
  // Each device in a process of its own.
  Crossings crossings() {
    plan = builder.finish();
    return {plan, kernels(), [](DeviceId device) { return static_cast<int>(device.value); }};
  }
  PlanBuilder builder;
  std::vector<StreamId> streams;
  TaskId producer;
  RegisterId made;
  Plan plan;
  int count = 0;
};

TEST(Crossings, NothingCrossesWithinAProcess) {
  Graph graph;
  const TaskId near = graph.reader(0, "all");
  const Crossings crossings = graph.crossings();
  EXPECT_EQ(crossings.count(), 0);
  EXPECT_EQ(crossings.find(near, graph.made), -1);
  EXPECT_EQ(Crossings().find(near, graph.made), -1);
}

TEST(Crossings, EqualReadsOfAProcessAreOne) {
  Graph graph;
  const TaskId first = graph.reader(1, "some", 2);
  const TaskId second = graph.reader(1, "some", 2);
  const TaskId more = graph.reader(1, "all");
  const TaskId elsewhere = graph.reader(2, "some", 2);
  const Crossings crossings = graph.crossings();
  EXPECT_EQ(crossings.count(), 3);
  const int number = crossings.find(first, graph.made);
  ASSERT_GE(number, 0);
  EXPECT_EQ(crossings.find(second, graph.made), number);
  EXPECT_NE(crossings.find(more, graph.made), number);
  EXPECT_NE(crossings.find(elsewhere, graph.made), number);
  EXPECT_EQ(crossings.at(number).from, 0);
  EXPECT_EQ(crossings.at(number).to, 1);
  EXPECT_EQ(crossings.at(number).bytes, 16);
  EXPECT_EQ(crossings.at(crossings.find(more, graph.made)).bytes, 32);
  EXPECT_EQ(crossings.at(crossings.find(elsewhere, graph.made)).to, 2);
  EXPECT_EQ(crossings.find(graph.producer, graph.made), -1);
  EXPECT_TRUE(crossings.initial().empty());
}

TEST(Crossings, WhatIsThereBeforeTheFirstFiringIsInitialOncePerProcess) {
  Graph graph;
  graph.builder.at(graph.made).initial = 1;
  const RegisterId constant = graph.builder.constant(DeviceId(0), {.name = "constant", .initial = 1});
  const TaskId first = graph.reader(1, "all");
  graph.reader(1, "all");
  graph.builder.read(first, constant);
  const Crossings crossings = graph.crossings();
  std::vector<RegisterId> registers;
  for (const Crossings::Initial& initial : crossings.initial()) {
    EXPECT_EQ(crossings.find(initial.reader, crossings.at(initial.crossing).reg), initial.crossing);
    registers.push_back(crossings.at(initial.crossing).reg);
  }
  EXPECT_EQ(registers, (std::vector<RegisterId>{graph.made, constant}));
}

TEST(Crossings, ControlEdgesHaveNoBytes) {
  Graph graph;
  const RegisterId turn = graph.builder.output(graph.producer, {.name = "turn", .control = true});
  const TaskId reader = graph.builder.task(graph.streams[1], "reader", "all");
  graph.builder.read(reader, turn);
  const Crossings crossings = graph.crossings();
  EXPECT_EQ(crossings.count(), 0);
  EXPECT_EQ(crossings.find(reader, turn), -1);
}

TEST(CrossingsDeathTest, AKernelThatReadsBeyondItsInputIsAMistakeOfOurs) {
  Graph graph;
  graph.reader(1, "too much");
  EXPECT_DEATH(graph.crossings(), "made");
}

TEST(Crossings, PiecesLieWhereTheRunsSay) {
  std::byte slot[64];
  const Pieces pieces = pieces_of({{4, 3, 2, 10}, {40, 0, 5, 1}, {60, 4, 1, 0}}, slot);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].data(), slot + 4);
  EXPECT_EQ(pieces[1].data(), slot + 14);
  EXPECT_EQ(pieces[1].size(), 3u);
  EXPECT_EQ(pieces[2].data(), slot + 60);
  EXPECT_EQ(pieces[2].size(), 4u);
}

}  // namespace
}  // namespace troupe
