// Networks of one process for tests: queues, with random delays from a seed, and with what can go wrong on the way.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/comm/network.h"

namespace troupe {

// What happens to bytes on their way.
enum class Fate : uint8_t {
  arrive,
  damage,  // one bit of them
  lose,    // `received` says so
  repeat,  // header and bytes come twice
};

// All networks that can reach one another; it outlives them. They are numbered in the order of being made. Thread-safe.
class QueueNetworks {
 public:
  // Whatever is sent arrives after as many calls of `progress` as the delay says at most. Headers of one peer stay in
  // order, bytes come in any.
  QueueNetworks(uint64_t seed, int delay) : random_(seed), delay_(delay) {}

  std::unique_ptr<Network> make();
  // Nothing goes to or from this one any more: its peers are told, or (silently) nobody is.
  void fail(size_t number, bool silently = false);
  // Bytes behind headers that were sent from one to another.
  int64_t bytes(size_t from, size_t to) const;
  // Of bytes that are sent. Set before anything is.
  std::function<Fate(size_t from, size_t to, std::span<const std::byte> header)> fate;

 private:
  class Member;
  struct Packet {
    size_t from = 0;
    std::vector<std::byte> header;
    Pieces pieces;                // where they lie, when they are read as late as they are written
    std::vector<std::byte> copy;  // otherwise
    int64_t bytes = 0;
    uint64_t tag = 0;  // the sender's
    int delay = 0;
    Fate fate = Fate::arrive;
  };
  struct Pull {
    Packet packet;
    Network::User::Into into;
  };
  struct End {
    int file = -1;  // an eventfd
    std::map<int, size_t> peers;
    std::map<size_t, std::deque<Packet>> inbox;  // by sender
    std::vector<Pull> pulls;
    std::vector<uint64_t> sent;
    std::vector<int> failed;
    bool dead = false;
    bool silent = false;
  };
  void connect(size_t self, int peer, const std::string& address);
  void disconnect(size_t self, int peer);
  void send(size_t self, int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag);
  bool progress(size_t self, Network::User& user);
  bool arm(size_t self);
  void read(Packet& packet);
  void over(Pull& pull, Network::User& user);
  void ring(const End& end) const;

  mutable std::mutex mutex_;
  Random random_;
  const int delay_;
  std::deque<End> ends_;
  std::map<std::pair<size_t, size_t>, int64_t> sent_;  // bytes
};

}  // namespace troupe
