// What carries bytes between processes that share no memory. Implemented by UCX (ucx_network.h), and by queues in
// tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace troupe {

// Bytes in order, in pieces of memory that lie apart from one another.
using Pieces = std::vector<std::span<std::byte>>;

inline int64_t size_of(const Pieces& pieces) {
  int64_t bytes = 0;
  for (const std::span<std::byte> piece : pieces) bytes += static_cast<int64_t>(piece.size());
  return bytes;
}

class Network {
 public:
  // Whoever uses the network. Called from within `progress` alone.
  class User {
   public:
    virtual ~User() = default;
    // Where the bytes go that follow this header, `bytes` in all; nothing to let them go by. The header is gone when
    // this returns. Headers of one peer arrive in the order in which they were sent.
    struct Into {
      Pieces pieces;
      uint64_t tag = 0;
      int peer = 0;  // whom they come from
    };
    virtual std::optional<Into> arrived(std::span<const std::byte> header, int64_t bytes) = 0;
    // All bytes are there, or none will come any more. Also where there were none.
    virtual void received(uint64_t tag, bool complete) = 0;
    // The bytes sent under this tag may be written again.
    virtual void sent(uint64_t tag) = 0;
    // Nothing more goes to this peer.
    virtual void failed(int peer, const std::string& why) = 0;
  };

  virtual ~Network() = default;

  // What another process needs to connect to this one.
  virtual std::string address() const = 0;
  // A peer is known by a number that the caller chooses. FaultError when the address is none.
  virtual void connect(int peer, const std::string& address) = 0;
  // Nothing more goes to this peer or comes from it: transfers end, those of bytes to this process incomplete. Not from
  // within `progress`.
  virtual void disconnect(int peer) = 0;
  // Header and bytes, in any pieces; these stay as they are until `User::sent`. Does not wait.
  virtual void send(int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) = 0;
  // Memory that pieces will lie in, until it is unregistered: where a piece alone makes up a message and lies in it whole, a
  // transfer has less to do. It overlaps no other. When it is unregistered nothing is under way to it or from it, and it
  // is still there.
  virtual void register_memory(std::span<std::byte> memory) = 0;
  virtual void unregister_memory(std::span<std::byte> memory) = 0;
  // Carries on. True when something happened.
  virtual bool progress(User& user) = 0;
  // Before a sleep: true when `file` becomes readable with whatever comes next; false when something has come already.
  virtual bool arm() = 0;
  virtual int file() const = 0;
};

}  // namespace troupe
