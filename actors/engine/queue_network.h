// Networks of one process for tests: queues, with random delays from a seed, and with what can go wrong on the way.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/base/random.h"
#include "runtime/comm/network.h"

namespace troupe {

// What happens to a message on its way.
enum class Fate : uint8_t {
  arrive,
  damage,    // one bit of its bytes
  lose,      // its bytes: `received` says so
  vanish,    // header and bytes, and nobody is told
  repeat,    // they come twice
  overtake,  // they come before what was sent before them
};

// All networks that can reach one another; it outlives them. They are numbered in the order of being made. Thread-safe,
// but for a clock that is not.
class QueueNetworks {
 public:
  // Whatever is sent arrives after as many calls of `progress` as the delay says at most. Headers of one peer stay in
  // order, bytes come in any.
  QueueNetworks(uint64_t seed, int delay) : random_(seed), delay_(delay) {}
  // The same after so many seconds of a clock. `due` is told which network has to make progress when.
  QueueNetworks(uint64_t seed, double delay_s, const Clock& clock, std::function<void(size_t number, double when)> due)
      : random_(seed), delay_(delay_s), clock_(&clock), due_(std::move(due)) {}

  std::unique_ptr<Network> make();
  size_t count() const;
  // Nothing goes to or from this one any more: its peers are told, or (silently) nobody is.
  void fail(size_t number, bool silently = false);
  // The link between two is cut, and both are told.
  void cut(size_t a, size_t b);
  // Nothing goes from one to the other any more, and nobody is told.
  void mute(size_t from, size_t to);
  // Bytes behind headers that were sent from one to another.
  int64_t bytes(size_t from, size_t to) const;
  // Of these the ones that were sent from registered memory to registered memory.
  int64_t registered_bytes(size_t from, size_t to) const;
  // What of a network's memory is registered.
  std::vector<std::span<std::byte>> registered(size_t number) const;
  // Of what is sent. Set before anything is.
  std::function<Fate(size_t from, size_t to, std::span<const std::byte> header)> fate;
  // That bytes take; with a clock.
  double seconds_per_byte = 0;

 private:
  class Member;
  using Link = std::pair<size_t, size_t>;  // from, to
  struct Packet {
    size_t from = 0;
    std::vector<std::byte> header;
    Pieces pieces;                // where they lie, when they are read as late as they are written
    std::vector<std::byte> copy;  // otherwise
    int64_t bytes = 0;
    uint64_t tag = 0;  // the sender's
    double due = 0;    // as `time` says
    Fate fate = Fate::arrive;
    bool registered = false;  // where they were sent from
  };
  struct Pull {
    Packet packet;
    Network::User::Into into;
    bool ended = false;  // by a disconnection: the rest does not come
  };
  struct End {
    size_t number = 0;
    int file = -1;  // an eventfd
    std::map<int, size_t> peers;
    std::map<size_t, std::deque<Packet>> inbox;  // by sender
    std::vector<Pull> pulls;
    std::vector<uint64_t> sent;
    std::vector<int> failed;
    int64_t rounds = 0;  // calls of `progress`
    bool dead = false;
    bool silent = false;
    std::map<std::byte*, size_t> registered;  // bytes, by where they begin
    bool has(const Pieces& pieces) const;     // one piece, registered
  };
  void connect(size_t self, int peer, const std::string& address);
  void disconnect(size_t self, int peer);
  void send(size_t self, int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag);
  bool progress(size_t self, Network::User& user);
  bool arm(size_t self);
  void register_memory(size_t self, std::span<std::byte> memory);
  void unregister_memory(size_t self, std::span<std::byte> memory);
  double time(const End& end) const { return clock_ != nullptr ? clock_->now() : static_cast<double>(end.rounds); }
  double soon(const End& end) { return time(end) + (clock_ != nullptr ? 0 : 1) + random_.uniform() * delay_; }
  bool passes(size_t from, size_t to) const { return !muted_.contains({from, to}); }
  void end_transfers(size_t from, size_t to);
  void tell(size_t who, size_t of);
  void read(Packet& packet);
  void over(Pull& pull, Network::User& user);
  void ring(const End& end) const { ring(end, time(end)); }
  void ring(const End& end, double when) const;

  mutable std::mutex mutex_;
  Random random_;
  const double delay_;
  const Clock* clock_ = nullptr;
  const std::function<void(size_t, double)> due_;
  std::deque<End> ends_;
  std::set<Link> muted_;
  std::set<Link> cut_;
  std::map<Link, int64_t> sent_;        // bytes
  std::map<Link, int64_t> registered_;  // of these
};

}  // namespace troupe
