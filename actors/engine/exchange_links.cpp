// Whether the links of a process to others live, both ways, and carry everything once and in order.

#include <utility>

#include "actors/engine/exchange.h"

namespace troupe {

// Says of a message from there whether it is the next one. One that comes twice is dropped; what comes early cannot wait,
// because its bytes lie at the other end.
bool Exchange::is_due(int process, uint64_t number) {
  Peer& peer = peers_[static_cast<size_t>(process)];
  if (number <= peer.taken) return false;
  if (number == peer.taken + 1) {
    peer.taken = number;
    return true;
  }
  const std::string missing = std::to_string(peer.taken + 1);
  raise(process, "is out of touch: its message " + missing + " is missing, a later one has come");
  return false;
}

void Exchange::look_at_links() {
  if (!connected_) return;
  const double now = clock_.now();
  // When it could not look for long, this process was stopped itself: silence before that does not count.
  const bool late = now - std::exchange(looked_, now) > options_.patience_s / 2;
  // Beats wait behind some of the bytes that are under way; what they say of those from here also behind those, and for the next beat.
  const double patience = options_.patience_s + static_cast<double>(arriving_bytes_) / kLeastBytesPerSecond;
  const double both_ways = patience + 2 * options_.beat_s + static_cast<double>(sending_bytes_) / kLeastBytesPerSecond;
  for (size_t p = 0; p < peers_.size(); ++p) {
    Peer& peer = peers_[p];
    if (!options_.far[p] || peer.broken) continue;
    if (now - peer.told >= options_.beat_s) {
      peer.told = now;
      send(static_cast<int>(p), WireBeat{peer.taken});
    }
    if (late) peer.heard = peer.confirmed_at = now;
    if (p + 1 == peers_.size()) continue;  // a driver may be stopped for as long as its user likes
    if (now - peer.heard >= patience) {
      raise(static_cast<int>(p), "says nothing over the network", now - peer.heard);
    } else if (now - peer.confirmed_at >= both_ways) {
      raise(static_cast<int>(p), "hears nothing over the network", now - peer.confirmed_at);
    }
  }
}

}  // namespace troupe
