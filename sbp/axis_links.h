// Whom the members of an axis's groups talk to: how many peers over which kind of link.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "runtime/base/profile.h"
#include "sbp/mesh.h"

namespace troupe {

// The peers of one device, per link kind.
using Peers = std::array<int64_t, kLinkKinds>;

struct AxisLinks {
  Peers pairs{};                // ordered pairs of members, over all groups of the axis
  std::vector<Peers> profiles;  // the distinct surroundings of a device
};

// Throws PlanError when the topology does not place a device of the mesh.
void refuse_unplaced(const Mesh& mesh, const Topology& topology);

AxisLinks links_of(const Mesh& mesh, int axis, const Topology& topology);

// Works each axis out once, which takes one look at every device of the mesh.
class AxisLinksCache {
 public:
  explicit AxisLinksCache(const Topology& topology) : topology_(topology) {}
  const Topology& topology() const { return topology_; }
  const AxisLinks& of(const Mesh& mesh, int axis);

 private:
  struct Entry {
    Mesh mesh;
    int axis;
    AxisLinks links;
  };
  const Topology& topology_;
  std::vector<Entry> entries_;  // few: the axes of two meshes
};

}  // namespace troupe
