#include "sbp/axis_links.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace troupe {
namespace {

// Two hosts of two switches of two devices each.
Topology two_hosts() {
  Topology topology = Topology::one_host(8);
  for (int i = 0; i < 8; ++i) topology.places[static_cast<size_t>(i)] = {i / 4, i / 2 % 2};
  return topology;
}

TEST(AxisLinks, CountsOrderedPairsByKind) {
  const Mesh mesh({{"dp", 2}, {"tp", 4}});
  EXPECT_EQ(links_of(mesh, 1, two_hosts()).pairs, (Peers{0, 8, 16, 0, 0}));
  EXPECT_EQ(links_of(mesh, 0, two_hosts()).pairs, (Peers{0, 0, 0, 0, 8}));
}

TEST(AxisLinks, NamesEachSurroundingOnce) {
  Topology topology = two_hosts();
  EXPECT_EQ(links_of(Mesh({{"x", 8}}), 0, topology).profiles, (std::vector<Peers>{{0, 1, 2, 0, 4}}));
  topology.places[7].host = 2;
  EXPECT_EQ(links_of(Mesh({{"x", 8}}), 0, topology).profiles,
            (std::vector<Peers>{{0, 1, 2, 0, 4}, {0, 1, 1, 0, 5}, {0, 0, 2, 0, 5}, {0, 0, 0, 0, 7}}));
}

TEST(AxisLinks, RefusesADeviceThatHasNoPlace) { EXPECT_THROW(links_of(Mesh({{"x", 9}}), 0, two_hosts()), PlanError); }

}  // namespace
}  // namespace troupe
