#include "planner/place.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

// A scalar that every chunk reads lies with its first reader, and so does what updates it, although that reads what the
// last chunk makes, and what that update alone reads.
TEST(Place, AnUpdateLiesWithTheVariablesItWrites) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {4, 8}, true);
  const ValueId scale = graph.variable("scale", DType::f32, {});
  const ValueId good_steps = graph.variable("good_steps", DType::i64, {});
  const ValueId first = graph.add("mul", {x, scale}, {}, "first").front();
  const ValueId last = graph.add("mul", {first, scale}, {}, "last").front();
  const ValueId loss =
      graph.add("reduce_sum", {last}, {{"dims", std::vector<int64_t>{0, 1}}, {"keep", int64_t{0}}}, "loss").front();
  graph.set_role(Role::update);
  const Attrs attrs = {{"growth", 2.0}, {"backoff", 0.5}, {"interval", int64_t{3}}, {"floor", 1.0}};
  const std::vector<ValueId> next = graph.add("loss_scale_update", {scale, good_steps, loss, loss}, attrs, "update");
  graph.assign(scale, next[0]);
  graph.assign(good_steps, next[1]);
  Pipeline pipeline;
  pipeline.stages = {Mesh({{"tp", 1}}, {DeviceId(0)}), Mesh({{"tp", 1}}, {DeviceId(1)})};
  pipeline.chunks = 2;
  pipeline.chunk_of = {{"first", 0}, {"last", 1}};
  const std::vector<int> chunks = place(graph, pipeline);
  const auto chunk_of = [&](ValueId value) { return chunks[graph.value(value).producer.index()]; };
  EXPECT_EQ(chunk_of(last), 1);
  EXPECT_EQ(chunk_of(loss), 1);
  EXPECT_EQ(chunk_of(scale), 0);
  EXPECT_EQ(chunk_of(good_steps), 0);
  EXPECT_EQ(chunk_of(next[0]), 0);
}

}  // namespace
}  // namespace troupe
