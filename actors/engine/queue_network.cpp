#include "actors/engine/queue_network.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

const std::string kName = "queue ";

// In whole pages.
bool is_mapped(std::span<std::byte> memory) {
  std::vector<unsigned char> pages(memory.size() / static_cast<size_t>(getpagesize()) + 1);
  return mincore(memory.data(), memory.size(), pages.data()) == 0;
}
bool overlap(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.data() < b.data() + b.size() && b.data() < a.data() + a.size();
}

}  // namespace

class QueueNetworks::Member final : public Network {
 public:
  Member(QueueNetworks& all, size_t number) : all_(all), number_(number) {}
  ~Member() override {
    all_.fail(number_);
    for (const std::span<std::byte> memory : all_.registered(number_)) unregister_memory(memory);
    close(file());
  }

  std::string address() const override { return kName + std::to_string(number_); }
  void connect(int peer, const std::string& address) override { all_.connect(number_, peer, address); }
  void send(int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) override {
    all_.send(number_, peer, header, std::move(pieces), tag);
  }
  void disconnect(int peer) override { all_.disconnect(number_, peer); }
  void register_memory(std::span<std::byte> memory) override { all_.register_memory(number_, memory); }
  void unregister_memory(std::span<std::byte> memory) override { all_.unregister_memory(number_, memory); }
  bool progress(User& user) override { return all_.progress(number_, user); }
  bool arm() override { return all_.arm(number_); }
  int file() const override {
    const std::lock_guard lock(all_.mutex_);
    return all_.ends_[number_].file;
  }

 private:
  QueueNetworks& all_;
  const size_t number_;
};

std::unique_ptr<Network> QueueNetworks::make() {
  const std::lock_guard lock(mutex_);
  End& end = ends_.emplace_back();
  end.number = ends_.size() - 1;
  end.file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return std::make_unique<Member>(*this, end.number);
}

size_t QueueNetworks::count() const {
  const std::lock_guard lock(mutex_);
  return ends_.size();
}

// Something is due there then.
void QueueNetworks::ring(const End& end, double when) const {
  if (end.dead) return;
  const uint64_t one = 1;
  CHECK(write(end.file, &one, sizeof(one)) == sizeof(one), end.file);
  if (due_) due_(end.number, when);
}

void QueueNetworks::fail(size_t number, bool silently) {
  const std::lock_guard lock(mutex_);
  End& end = ends_[number];
  if (std::exchange(end.dead, true)) return;
  end.silent = silently;
  for (auto& [from, packets] : end.inbox) {
    for (const Packet& packet : packets) ends_[from].sent.push_back(packet.tag);
  }
  for (const Pull& pull : end.pulls) ends_[pull.packet.from].sent.push_back(pull.packet.tag);
  end.inbox.clear();
  end.pulls.clear();
  for (End& other : ends_) {
    if (!silently) tell(other.number, number);
    ring(other);
  }
}

// Peers of this one that it is out of reach.
void QueueNetworks::tell(size_t who, size_t of) {
  End& end = ends_[who];
  for (const auto& [peer, is] : end.peers) {
    if (is == of && !end.dead) end.failed.push_back(peer);
  }
  ring(end);
}

void QueueNetworks::cut(size_t a, size_t b) {
  const std::lock_guard lock(mutex_);
  for (const auto& [from, to] : {Link(a, b), Link(b, a)}) {
    cut_.insert({from, to});
    end_transfers(from, to);
    tell(from, to);
  }
}

void QueueNetworks::mute(size_t from, size_t to) {
  const std::lock_guard lock(mutex_);
  muted_.insert({from, to});
}

// What is under way is not needed any more, as far as it has not arrived.
void QueueNetworks::end_transfers(size_t from, size_t to) {
  std::deque<Packet>& queue = ends_[to].inbox[from];
  for (const Packet& packet : queue) ends_[from].sent.push_back(packet.tag);
  queue.clear();
  for (Pull& pull : ends_[to].pulls) {
    if (pull.packet.from != from || std::exchange(pull.ended, true) || pull.packet.pieces.empty()) continue;
    ends_[from].sent.push_back(pull.packet.tag);
    pull.packet.pieces.clear();  // they may be gone from now on
  }
  ring(ends_[from]);
  ring(ends_[to]);
}

int64_t QueueNetworks::bytes(size_t from, size_t to) const {
  const std::lock_guard lock(mutex_);
  const auto it = sent_.find({from, to});
  return it == sent_.end() ? 0 : it->second;
}

int64_t QueueNetworks::registered_bytes(size_t from, size_t to) const {
  const std::lock_guard lock(mutex_);
  const auto it = registered_.find({from, to});
  return it == registered_.end() ? 0 : it->second;
}

std::vector<std::span<std::byte>> QueueNetworks::registered(size_t number) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::span<std::byte>> all;
  for (const auto& [begin, bytes] : ends_[number].registered) all.emplace_back(begin, bytes);
  return all;
}

bool QueueNetworks::End::has(const Pieces& pieces) const {
  if (pieces.size() != 1) return false;
  const std::span<std::byte> piece = pieces.front();
  const auto after = registered.upper_bound(piece.data());
  if (after == registered.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return piece.data() + piece.size() <= begin + bytes;
}

void QueueNetworks::register_memory(size_t self, std::span<std::byte> memory) {
  const std::lock_guard lock(mutex_);
  CHECK(is_mapped(memory), memory.data(), memory.size());
  for (const auto& [begin, bytes] : ends_[self].registered) CHECK(!overlap({begin, bytes}, memory), begin, bytes);
  ends_[self].registered.emplace(memory.data(), memory.size());
}

// As a network over RDMA needs it: the memory is there still, and nothing is under way in it.
void QueueNetworks::unregister_memory(size_t self, std::span<std::byte> memory) {
  const std::lock_guard lock(mutex_);
  const auto free_of = [&](const Pieces& pieces) {
    return std::none_of(pieces.begin(), pieces.end(), [&](const auto& piece) { return overlap(piece, memory); });
  };
  CHECK(ends_[self].registered.erase(memory.data()) == 1, memory.data());
  CHECK(is_mapped(memory), memory.data(), memory.size());
  if (ends_[self].dead) return;
  for (const Pull& pull : ends_[self].pulls) CHECK(pull.ended || free_of(pull.into.pieces), pull.packet.from);
  for (End& end : ends_) {
    const auto sent = end.inbox.find(self);
    if (sent != end.inbox.end()) {
      for (const Packet& packet : sent->second) CHECK(free_of(packet.pieces), end.number);
    }
    for (const Pull& pull : end.pulls) CHECK(pull.packet.from != self || free_of(pull.packet.pieces), end.number);
  }
}

void QueueNetworks::connect(size_t self, int peer, const std::string& address) {
  const std::lock_guard lock(mutex_);
  const size_t number = address.starts_with(kName) ? std::stoul(address.substr(kName.size())) : ends_.size();
  if (number >= ends_.size()) {
    Fault fault;
    fault.what = "no way to another process: '" + address + "' is no address";
    throw FaultError(std::move(fault));
  }
  ends_[self].peers[peer] = number;
  const bool gone = (ends_[number].dead && !ends_[number].silent) || cut_.contains({self, number});
  if (!gone) return;
  ends_[self].failed.push_back(peer);
  ring(ends_[self]);
}

// Out of the sender's memory, which may be written again from now on.
void QueueNetworks::read(Packet& packet) {
  for (const std::span<std::byte> piece : std::exchange(packet.pieces, {})) {
    packet.copy.insert(packet.copy.end(), piece.begin(), piece.end());
  }
  if (packet.fate == Fate::damage && packet.bytes > 0) packet.copy[packet.copy.size() / 2] ^= std::byte{4};
  ends_[packet.from].sent.push_back(packet.tag);
  ring(ends_[packet.from]);
}

void QueueNetworks::disconnect(size_t self, int peer) {
  const std::lock_guard lock(mutex_);
  const auto known = ends_[self].peers.find(peer);
  if (known == ends_[self].peers.end()) return;
  const size_t other = known->second;
  end_transfers(self, other);
  end_transfers(other, self);
  if (cut_.contains({self, other})) return;
  cut_.insert({{self, other}, {other, self}});
  if (passes(self, other)) tell(other, self);  // as the end of a TCP connection does
}

void QueueNetworks::send(size_t self, int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) {
  const std::lock_guard lock(mutex_);
  const size_t to = ends_[self].peers.at(peer);
  const int64_t bytes = size_of(pieces);
  Packet packet{self, {header.begin(), header.end()}, std::move(pieces), {}, bytes, tag, 0, Fate::arrive, false};
  sent_[{self, to}] += packet.bytes;
  packet.registered = ends_[self].has(packet.pieces);
  if (fate) packet.fate = fate(self, to, header);
  if (ends_[self].dead || ends_[to].dead || cut_.contains({self, to}) || packet.fate == Fate::vanish) {
    ends_[self].sent.push_back(tag);
    ring(ends_[self]);
    return;
  }
  std::deque<Packet>& queue = ends_[to].inbox[self];
  packet.due = std::max(soon(ends_[to]), queue.empty() ? 0 : queue.back().due);
  if (packet.fate == Fate::repeat || packet.bytes == 0 || random_.chance(0.5)) read(packet);
  ring(ends_[to], packet.due);
  if (packet.fate == Fate::repeat) queue.push_back(packet);
  const bool first = packet.fate == Fate::overtake && !queue.empty();
  queue.insert(first ? std::prev(queue.end()) : queue.end(), std::move(packet));
}

void QueueNetworks::over(Pull& pull, Network::User& user) {
  Packet& packet = pull.packet;
  const bool whole = packet.fate != Fate::lose && !pull.ended && !ends_[packet.from].dead;
  if (!packet.pieces.empty() && !ends_[packet.from].dead) read(packet);
  const std::byte* from = packet.copy.data();
  for (const std::span<std::byte> piece : pull.into.pieces) {
    if (!whole) break;
    std::copy_n(from, piece.size(), piece.data());
    from += piece.size();
  }
  user.received(pull.into.tag, whole);
}

bool QueueNetworks::progress(size_t self, Network::User& user) {
  const std::lock_guard lock(mutex_);
  End& end = ends_[self];
  bool something = false;
  ++end.rounds;
  for (auto& [from, packets] : end.inbox) {
    while (passes(from, self) && !packets.empty() && packets.front().due <= time(end)) {
      Packet packet = std::move(packets.front());
      packets.pop_front();
      something = true;
      if (ends_[from].dead) continue;  // with its memory, maybe
      std::optional<Network::User::Into> into = user.arrived(packet.header, packet.bytes);
      if (!into) {
        if (!packet.pieces.empty()) read(packet);
        continue;
      }
      packet.due = soon(end) + 2 * random_.uniform() * delay_ + static_cast<double>(packet.bytes) * seconds_per_byte;
      if (packet.registered && end.has(into->pieces)) registered_[{from, self}] += packet.bytes;
      ring(end, packet.due);
      end.pulls.push_back({std::move(packet), std::move(*into)});
    }
  }
  for (size_t i = 0; i < end.pulls.size();) {
    const Pull& first = end.pulls[i];
    const End& sender = ends_[first.packet.from];
    const bool stuck = sender.dead ? sender.silent : !passes(sender.number, self) || first.packet.due > time(end);
    if (stuck && !first.ended) {
      ++i;
      continue;
    }
    Pull pull = std::move(end.pulls[i]);
    end.pulls.erase(end.pulls.begin() + static_cast<std::ptrdiff_t>(i));
    over(pull, user);
    something = true;
  }
  something |= !end.sent.empty() || !end.failed.empty();
  for (uint64_t tag : std::exchange(end.sent, {})) user.sent(tag);
  for (int peer : std::exchange(end.failed, {})) user.failed(peer, "gone");
  return something;
}

bool QueueNetworks::arm(size_t self) {
  const std::lock_guard lock(mutex_);
  End& end = ends_[self];
  uint64_t rung = 0;
  if (::read(end.file, &rung, sizeof(rung)) < 0) rung = 0;  // nobody rang
  const auto waits = [](const auto& entry) { return !entry.second.empty(); };
  return std::none_of(end.inbox.begin(), end.inbox.end(), waits) && end.pulls.empty() && end.sent.empty() &&
         end.failed.empty();
}

}  // namespace troupe
