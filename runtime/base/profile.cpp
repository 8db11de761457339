#include "runtime/base/profile.h"

#include "runtime/base/check.h"

namespace troupe {

const char* name_of(LinkKind kind) {
  switch (kind) {
    case LinkKind::local:
      return "local";
    case LinkKind::within_switch:
      return "within switch";
    case LinkKind::within_host:
      return "within host";
    case LinkKind::host_memory:
      return "host memory";
    case LinkKind::between_hosts:
      return "between hosts";
  }
  return "";
}

Topology Topology::one_host(int devices) {
  Topology topology;
  topology.places.resize(static_cast<size_t>(devices));
  return topology;
}

LinkKind Topology::between(DeviceId a, DeviceId b) const {
  CHECK(a.index() < places.size() && b.index() < places.size(), a, b, places.size());
  if (a == b) return LinkKind::local;
  const Place& x = places[a.index()];
  const Place& y = places[b.index()];
  if (x.host != y.host) return LinkKind::between_hosts;
  if (x.switch_in_host == y.switch_in_host) return LinkKind::within_switch;
  const bool with_memory = x.switch_in_host == kHostMemory || y.switch_in_host == kHostMemory;
  return with_memory ? LinkKind::host_memory : LinkKind::within_host;
}

Topology Topology::hosts(int devices, int per_host) {
  Topology topology = one_host(devices);
  for (int d = 0; d < devices; ++d) topology.places[static_cast<size_t>(d)] = {d / per_host, 0};
  topology.links[static_cast<int>(LinkKind::local)] = {4.3e12, 0};
  topology.links[static_cast<int>(LinkKind::within_switch)] = {450e9, 5e-6};
  topology.links[static_cast<int>(LinkKind::within_host)] = {55e9, 5e-6};
  topology.links[static_cast<int>(LinkKind::host_memory)] = {55e9, 5e-6};
  topology.links[static_cast<int>(LinkKind::between_hosts)] = {50e9, 10e-6};
  return topology;
}

Profile Profile::h200() {
  Profile profile;
  profile.matmul_flops_per_s = 395e12;
  profile.low_matmul_flops_per_s = 791e12;
  profile.memory_bytes_per_s = 4.3e12;
  profile.firing_s = 3e-6;
  profile.cores = 0;
  return profile;
}

}  // namespace troupe
