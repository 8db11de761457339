#include "sbp/axis_links.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace troupe {

void refuse_unplaced(const Mesh& mesh, const Topology& topology) {
  for (DeviceId device : mesh.devices()) {
    if (device.valid() && device.index() < topology.places.size()) continue;
    throw PlanError(mesh.str() + ": device " + std::to_string(device.value) + " is not in the topology, which places " +
                    std::to_string(topology.places.size()) + " devices");
  }
}

namespace {

bool is_before(const Topology::Place& a, const Topology::Place& b) {
  return a.host != b.host ? a.host < b.host : a.switch_in_host < b.switch_in_host;
}

// Adds one group, given the places of its members in order.
void add_group(const std::vector<Topology::Place>& places, AxisLinks& links) {
  const size_t size = places.size();
  for (size_t host = 0, host_end = 0; host < size; host = host_end) {
    while (host_end < size && places[host_end].host == places[host].host) ++host_end;
    for (size_t start = host, end = host; start < host_end; start = end) {
      while (end < host_end && places[end] == places[start]) ++end;
      const auto in_switch = static_cast<int64_t>(end - start);
      const auto in_host = static_cast<int64_t>(host_end - host);
      // No axis has devices beside memory of hosts: what a boxing step takes from one to the other lies on two meshes.
      Peers peers{};
      peers[static_cast<size_t>(LinkKind::within_switch)] = in_switch - 1;
      peers[static_cast<size_t>(LinkKind::within_host)] = in_host - in_switch;
      peers[static_cast<size_t>(LinkKind::between_hosts)] = static_cast<int64_t>(size) - in_host;
      for (size_t kind = 0; kind < peers.size(); ++kind) links.pairs[kind] += in_switch * peers[kind];
      if (std::find(links.profiles.begin(), links.profiles.end(), peers) == links.profiles.end()) {
        links.profiles.push_back(peers);
      }
    }
  }
}

}  // namespace

AxisLinks links_of(const Mesh& mesh, int axis, const Topology& topology) {
  refuse_unplaced(mesh, topology);
  AxisLinks links;
  const int size = mesh.axis(axis).size;
  const int stride = mesh.stride(axis);
  std::vector<Topology::Place> places(static_cast<size_t>(size));
  for (int block = 0; block < mesh.size(); block += size * stride) {
    for (int first = block; first < block + stride; ++first) {
      for (int i = 0; i < size; ++i) {
        places[static_cast<size_t>(i)] = topology.places[mesh.device(first + i * stride).index()];
      }
      // Devices are nearly always numbered host by host.
      if (!std::is_sorted(places.begin(), places.end(), is_before)) {
        std::sort(places.begin(), places.end(), is_before);
      }
      add_group(places, links);
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
