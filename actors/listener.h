// The driver's end of the network: listens for workers, on the loopback address of this host unless told otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "actors/engine/driver.h"
#include "actors/tls_identity.h"
#include "runtime/comm/network.h"

namespace troupe {

// No CAF type leaves the .cpp. Used by one thread at a time.
class Listener final : public Courier {
 public:
  // On an IPv4 address of this host, given as such or by name; at any free port, or at this one. With `tls` nobody is
  // heard who does not show the same. FaultError when that cannot be, PlanError for the address 0.0.0.0, which workers
  // could not be told, and for an identity that cannot be used.
  explicit Listener(const std::string& address = "127.0.0.1", uint16_t port = 0,
                    const std::optional<TlsIdentity>& tls = std::nullopt);
  ~Listener() override;

  std::string address() const;  // "127.0.0.1:41234"
  void send(int worker, const Order& order) override;
  void receive(Crew& crew, double at_most_s) override;
  std::string memory() const override;
  // On the network devices of its address.
  std::unique_ptr<Network> make_network() override;

 private:
  struct Actors;
  std::unique_ptr<Actors> actors_;
};

}  // namespace troupe
