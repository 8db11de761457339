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
  return x.switch_in_host == y.switch_in_host ? LinkKind::within_switch : LinkKind::within_host;
}

}  // namespace troupe
