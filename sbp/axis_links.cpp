#include "sbp/axis_links.h"

#include <algorithm>
#include <map>

#include "runtime/base/error.h"

namespace troupe {

void refuse_unplaced(const Mesh& mesh, const Topology& topology) {
  for (DeviceId device : mesh.devices()) {
    if (device.valid() && device.index() < topology.places.size()) continue;
    throw PlanError(mesh.str() + ": device " + std::to_string(device.value) + " is not in the topology, which places " +
                    std::to_string(topology.places.size()) + " devices");
  }
}

AxisLinks links_of(const Mesh& mesh, int axis, const Topology& topology) {
  refuse_unplaced(mesh, topology);
  AxisLinks links;
  const int size = mesh.axis(axis).size;
  const int stride = mesh.stride(axis);
  std::map<std::pair<int, int>, int64_t> by_switch;
  std::map<int, int64_t> by_host;
  for (int first = 0; first < mesh.size(); ++first) {
    if (mesh.coordinate(first, axis) != 0) continue;
    by_switch.clear();
    by_host.clear();
    for (int i = 0; i < size; ++i) {
      const Topology::Place& place = topology.places[mesh.device(first + i * stride).index()];
      ++by_switch[{place.host, place.switch_in_host}];
      ++by_host[place.host];
    }
    for (const auto& [place, in_switch] : by_switch) {
      const int64_t in_host = by_host[place.first];
      const Peers peers = {0, in_switch - 1, in_host - in_switch, size - in_host};
      for (size_t kind = 0; kind < peers.size(); ++kind) links.pairs[kind] += in_switch * peers[kind];
      if (std::find(links.profiles.begin(), links.profiles.end(), peers) == links.profiles.end()) {
        links.profiles.push_back(peers);
      }
    }
  }
  return links;
}

const AxisLinks& AxisLinksCache::of(const Mesh& mesh, int axis) {
  for (const Entry& entry : entries_) {
    if (entry.axis == axis && entry.mesh == mesh) return entry.links;
  }
  entries_.push_back({mesh, axis, links_of(mesh, axis, topology_)});
  return entries_.back().links;
}

}  // namespace troupe
