// How an actor system publishes an actor and connects to those of others: in the clear, or with TLS.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/io/middleman_actor.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/tls_gate.h"

namespace troupe {

// To be destroyed before the system.
class ControlNetwork {
 public:
  // PlanError for an identity that cannot be used.
  ControlNetwork(caf::actor_system& system, const std::optional<TlsIdentity>& tls);
  ~ControlNetwork();
  ControlNetwork(const ControlNetwork&) = delete;

  const caf::io::middleman_actor& actor() const { return actor_; }
  // The port that it has then.
  caf::expected<uint16_t> publish(const caf::actor& published, uint16_t port, const std::string& address, bool reuse);
  // With TLS: whom this process has not let in, or by whom it was not, since the last call. Connections that have
  // waited for longer than the patience are given up.
  std::vector<TlsGate::TurnedAway> turned_away(double patience_s);

 private:
  caf::actor_system& system_;
  std::shared_ptr<TlsGate> gate_;  // null: in the clear
  caf::io::middleman_actor actor_;
};

}  // namespace troupe
