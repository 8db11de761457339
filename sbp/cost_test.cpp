#include <gtest/gtest.h>

#include "sbp/boxing_step.h"

namespace troupe {
namespace {

Mesh line(int size) { return Mesh({{"x", size}}); }

BoxingCost cost(const Layout& from, const Layout& to, const Shape& shape, const Topology& topology) {
  return cost_of(boxing(from, to, shape, DType::f32, topology), shape, DType::f32, topology);
}

BoxingCost cost(Sbp from, Sbp to, const Shape& shape, int p = 4) {
  return cost(Layout(line(p), {from}), Layout(line(p), {to}), shape, Topology::one_host(p));
}

TEST(Cost, EachDeviceReceivesWhatTheTableSays) {
  constexpr int64_t p = 4;
  constexpr int64_t T = 8 * 8 * 4;
  const Shape shape = {8, 8};
  EXPECT_EQ(cost(P, B, shape).most_received.value, 2 * T * (p - 1) / p);
  EXPECT_EQ(cost(P, S(0), shape).most_received.value, T * (p - 1) / p);
  EXPECT_EQ(cost(P, S(1), shape).most_received.value, T * (p - 1) / p);
  EXPECT_EQ(cost(S(0), B, shape).most_received.value, T * (p - 1) / p);
  EXPECT_EQ(cost(S(0), S(1), shape).most_received.value, T * (p - 1) / (p * p));
  for (auto [from, to] : {std::pair{B, S(0)}, {B, P}, {S(0), P}, {B, B}, {S(1), P_of(Reduction::max)}}) {
    EXPECT_EQ(cost(from, to, shape).most_received.value, 0) << from.str() << " -> " << to.str();
    EXPECT_EQ(cost(from, to, shape).seconds, 0);
  }
}

TEST(Cost, TotalsAreExactForUnevenParts) {
  // 5 rows over 4: 2, 1, 1, 1; 7 columns over 4: 2, 2, 2, 1.
  const Shape shape = {5, 7};
  constexpr int64_t T = 5 * 7 * 4;
  EXPECT_EQ(cost(P, B, shape).total().value, 2 * 3 * T);
  EXPECT_EQ(cost(P, S(0), shape).total().value, 3 * T);
  EXPECT_EQ(cost(S(0), B, shape).total().value, 3 * T);
  EXPECT_EQ(cost(S(0), B, shape).most_received.value, (5 - 1) * 7 * 4);
  EXPECT_EQ(cost(S(0), S(1), shape).total().value, T - (2 * 2 + 1 * 2 + 1 * 2 + 1 * 1) * 4);
  EXPECT_EQ(cost(S(0), S(1), shape).most_received.value, 4 * 2 * 4);
}

TEST(Cost, BytesAndMessagesAreCountedByKindOfLink) {
  Topology topology = Topology::one_host(4);
  topology.places = {{0, 0}, {0, 0}, {0, 1}, {1, 0}};
  const BoxingCost gathered = cost(Layout(line(4), {S(0)}), Layout(line(4), {B}), {8, 2}, topology);
  const auto bytes = [&](LinkKind kind) { return gathered.bytes[static_cast<size_t>(kind)].value; };
  const auto messages = [&](LinkKind kind) { return gathered.messages[static_cast<size_t>(kind)]; };
  constexpr int64_t kPart = 2 * 2 * 4;
  EXPECT_EQ(messages(LinkKind::local), 0);
  EXPECT_EQ(messages(LinkKind::within_switch), 2);
  EXPECT_EQ(messages(LinkKind::within_host), 4);
  EXPECT_EQ(messages(LinkKind::between_hosts), 6);
  EXPECT_EQ(bytes(LinkKind::within_switch), 2 * kPart);
  EXPECT_EQ(bytes(LinkKind::within_host), 4 * kPart);
  EXPECT_EQ(bytes(LinkKind::between_hosts), 6 * kPart);
  // Device 3 is alone on its host: all three parts come over the network.
  const Link& network = topology.links[static_cast<int>(LinkKind::between_hosts)];
  EXPECT_DOUBLE_EQ(gathered.seconds, 3 * (kPart / network.bytes_per_s + network.latency_s));
}

TEST(Cost, AnExchangeIsCountedFromItsPullsAndWaitsForItsBusiestSender) {
  const Topology topology = Topology::one_host(4);
  const Mesh one({{"x", 1}}, {DeviceId(0)});
  const Mesh others({{"x", 3}}, {DeviceId(1), DeviceId(2), DeviceId(3)});
  const BoxingStep step{BoxingKind::exchange, -1, Layout(one, {B}), Layout(others, {B})};
  const BoxingCost spread = cost_of(step, {100}, DType::f32, topology);
  EXPECT_EQ(spread.total().value, 3 * 400);
  EXPECT_EQ(spread.most_received.value, 400);
  const Link& link = topology.links[static_cast<int>(LinkKind::within_switch)];
  EXPECT_DOUBLE_EQ(spread.seconds, 3 * (400 / link.bytes_per_s + link.latency_s));
}

TEST(Cost, ManyDevicesCostAsManyAsFewByTheSameFormula) {
  const Mesh mesh({{"dp", 64}, {"pp", 8}, {"tp", 8}});
  Topology topology = Topology::one_host(mesh.size());
  for (size_t i = 0; i < topology.places.size(); ++i) topology.places[i].host = static_cast<int>(i / 8);
  const Shape shape = {4096, 4096};
  const int64_t T = shape.elements() * 4;
  const BoxingCost gathered = cost(Layout(mesh, {B, B, S(0)}), Layout(mesh, {B, B, B}), shape, topology);
  EXPECT_EQ(gathered.total().value, T * 7 * 64 * 8);
  EXPECT_EQ(gathered.bytes[static_cast<size_t>(LinkKind::between_hosts)].value, 0);
  const BoxingCost reduced = cost(Layout(mesh, {P, B, S(0)}), Layout(mesh, {B, B, S(0)}), shape, topology);
  EXPECT_EQ(reduced.total().value, 2 * T * 63 * 8);
  EXPECT_EQ(reduced.bytes[static_cast<size_t>(LinkKind::between_hosts)].value, reduced.total().value);
  EXPECT_EQ(reduced.most_received.value, 2 * (T / 8) * 63 / 64);
}

TEST(Cost, ALargeExchangeIsScaledUpFromASample) {
  const Mesh mesh({{"a", 32}, {"b", 32}});
  const Layout from(mesh, {S(0), S(0)}), to(mesh, {S(0), S(0)}, {1, 0});
  const BoxingStep step{BoxingKind::exchange, -1, from, to};
  const BoxingCost sampled = cost_of(step, {1024, 16}, DType::f32, Topology::one_host(1024));
  // Every device but the 32 on the diagonal gets its one row from another.
  const double exact = (1024 - 32) * 16 * 4;
  EXPECT_NEAR(static_cast<double>(sampled.total().value), exact, 0.05 * exact);
  EXPECT_EQ(sampled.most_received.value, 64);
}

}  // namespace
}  // namespace troupe
