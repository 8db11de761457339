// A network over UCX: TCP or RDMA, whatever the hosts have. Bytes that are sent are read, and those that arrive are
// written, where they lie; only short messages are copied on their way, and long ones go in chunks (chunks.h).
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/network.h"

namespace troupe {

// No UCX type leaves the .cpp. Used by one thread at a time; must not be destroyed from within its own calls.
class UcxNetwork final : public Network {
 public:
  // Listens on these network devices alone, as in UCX_NET_DEVICES ("eth0,mlx5_0:1"); empty, or where the user has set
  // that variable: as UCX chooses. FaultError when it cannot.
  explicit UcxNetwork(const std::string& devices = "");
  // Nothing that is under way arrives any more.
  ~UcxNetwork() override;

  std::string address() const override;
  void connect(int peer, const std::string& address) override;
  void disconnect(int peer) override;
  void send(int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) override;
  void register_memory(std::span<std::byte> memory) override;
  void unregister_memory(std::span<std::byte> memory) override;
  bool progress(User& user) override;
  bool arm() override;
  int file() const override;

  // Transfers so far whose memory was registered beforehand, of sends and of pulls.
  int64_t registered_sends() const;
  int64_t registered_pulls() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace troupe
