#include "actors/control_network.h"

#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>
#include <set>

#include "actors/tls_network.h"
#include "runtime/base/clock.h"

namespace troupe {

ControlNetwork::ControlNetwork(caf::actor_system& system, const std::optional<TlsIdentity>& tls) : system_(system) {
  if (tls) gate_ = std::make_shared<TlsGate>(*tls);
  actor_ = gate_ ? spawn_tls_middleman(system, gate_) : system.middleman().actor_handle();
}

ControlNetwork::~ControlNetwork() {
  if (gate_ == nullptr) return;  // the middleman's own, which it ends
  caf::scoped_actor self(system_);
  self->send_exit(actor_, caf::exit_reason::kill);
  self->wait_for(actor_);
}

caf::expected<uint16_t> ControlNetwork::publish(const caf::actor& published, uint16_t port, const std::string& address,
                                                bool reuse) {
  caf::scoped_actor self(system_);
  caf::expected<uint16_t> result = uint16_t{0};
  self->request(actor_, caf::infinite, caf::publish_atom::value, port,
                caf::actor_cast<caf::strong_actor_ptr>(published), std::set<std::string>(), address, reuse)
      .receive([&](uint16_t bound) { result = bound; }, [&](caf::error& error) { result = std::move(error); });
  return result;
}

std::vector<TlsGate::TurnedAway> ControlNetwork::turned_away(double patience_s) {
  if (gate_ == nullptr) return {};
  gate_->hurry(patience_s, SteadyClock().now());
  return gate_->turned_away();
}

}  // namespace troupe
