// CAF's network over TLS, where a process that has not shown the run's certificate is never heard.
//
// CAF has a module for TLS, which this is not: it leaves the errors of one connection where OpenSSL takes them for
// those of the next, so that a stranger's failed attempt closes a worker's connection; while somebody connects and says
// nothing it does not sleep; and it does not say why it turns somebody away.
#pragma once

#include <caf/actor_system.hpp>
#include <caf/io/middleman_actor.hpp>
#include <memory>

#include "actors/tls_gate.h"

namespace troupe {

// What publishes actors and connects to those of others, as CAF's middleman does. To be killed before the system ends.
caf::io::middleman_actor spawn_tls_middleman(caf::actor_system& system, std::shared_ptr<TlsGate> gate);

}  // namespace troupe
