// The driver's end of the network: listens for workers, on the loopback address of this host.
#pragma once

#include <memory>
#include <string>

#include "actors/engine/driver.h"

namespace troupe {

// No CAF type leaves the .cpp. Used by one thread at a time.
class Listener final : public Courier {
 public:
  // At any free port. FaultError when there is none.
  Listener();
  ~Listener() override;

  std::string address() const;  // "127.0.0.1:41234"
  void send(int worker, uint64_t request, const Command& command) override;
  void receive(Crew& crew, double at_most_s) override;

 private:
  struct Actors;
  std::unique_ptr<Actors> actors_;
};

}  // namespace troupe
