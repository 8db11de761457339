#include "actors/engine/queue_network.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

const std::string kName = "queue ";

}  // namespace

class QueueNetworks::Member final : public Network {
 public:
  Member(QueueNetworks& all, size_t number) : all_(all), number_(number) {}
  ~Member() override {
    all_.fail(number_);
    close(file());
  }

  std::string address() const override { return kName + std::to_string(number_); }
  void connect(int peer, const std::string& address) override { all_.connect(number_, peer, address); }
  void send(int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) override {
    all_.send(number_, peer, header, std::move(pieces), tag);
  }
  void disconnect(int peer) override { all_.disconnect(number_, peer); }
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
  ends_.emplace_back().file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return std::make_unique<Member>(*this, ends_.size() - 1);
}

void QueueNetworks::ring(const End& end) const {
  const uint64_t one = 1;
  CHECK(write(end.file, &one, sizeof(one)) == sizeof(one), end.file);
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
    if (&other == &end || other.dead) continue;
    if (!silently) {
      for (const auto& [peer, is] : other.peers) {
        if (is == number) other.failed.push_back(peer);
      }
    }
    ring(other);
  }
}

int64_t QueueNetworks::bytes(size_t from, size_t to) const {
  const std::lock_guard lock(mutex_);
  const auto it = sent_.find({from, to});
  return it == sent_.end() ? 0 : it->second;
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
  if (ends_[number].dead && !ends_[number].silent) ends_[self].failed.push_back(peer);
}

// Out of the sender's memory, which may be written again from now on.
void QueueNetworks::read(Packet& packet) {
  for (const std::span<std::byte> piece : std::exchange(packet.pieces, {})) {
    packet.copy.insert(packet.copy.end(), piece.begin(), piece.end());
  }
  if (packet.fate == Fate::damage) packet.copy[packet.copy.size() / 2] ^= std::byte{4};
  ends_[packet.from].sent.push_back(packet.tag);
  if (!ends_[packet.from].dead) ring(ends_[packet.from]);
}

void QueueNetworks::disconnect(size_t self, int peer) {
  const std::lock_guard lock(mutex_);
  const size_t other = ends_[self].peers.at(peer);
  for (const auto& [from, to] : {std::pair(self, other), std::pair(other, self)}) {
    std::deque<Packet>& queue = ends_[to].inbox[from];
    for (const Packet& packet : queue) ends_[from].sent.push_back(packet.tag);
    queue.clear();
    for (Pull& pull : ends_[to].pulls) {
      if (pull.packet.from == from) pull.packet.fate = Fate::lose;
    }
    if (!ends_[to].dead) ring(ends_[to]);
  }
}

void QueueNetworks::send(size_t self, int peer, std::span<const std::byte> header, Pieces pieces, uint64_t tag) {
  const std::lock_guard lock(mutex_);
  const size_t to = ends_[self].peers.at(peer);
  Packet packet{self, {header.begin(), header.end()}, std::move(pieces), {}, 0, tag, 0, Fate::arrive};
  for (const std::span<std::byte> piece : packet.pieces) packet.bytes += static_cast<int64_t>(piece.size());
  sent_[{self, to}] += packet.bytes;
  if (ends_[self].dead || ends_[to].dead) {
    ends_[self].sent.push_back(tag);
    return;
  }
  if (fate && packet.bytes > 0) packet.fate = fate(self, to, header);
  packet.delay = static_cast<int>(random_.below(delay_ + 1));
  if (packet.fate == Fate::repeat || packet.bytes == 0 || random_.chance(0.5)) read(packet);
  std::deque<Packet>& queue = ends_[to].inbox[self];
  if (packet.fate == Fate::repeat) queue.push_back(packet);
  queue.push_back(std::move(packet));
  ring(ends_[to]);
}

void QueueNetworks::over(Pull& pull, Network::User& user) {
  Packet& packet = pull.packet;
  const bool whole = packet.fate != Fate::lose && !ends_[packet.from].dead;
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
  for (auto& [from, packets] : end.inbox) {
    while (!packets.empty() && --packets.front().delay < 0) {
      Packet packet = std::move(packets.front());
      packets.pop_front();
      something = true;
      if (ends_[from].dead) continue;  // with its memory, maybe
      std::optional<Network::User::Into> into = user.arrived(packet.header, packet.bytes);
      if (!into) {
        if (!packet.pieces.empty()) read(packet);
        continue;
      }
      packet.delay = static_cast<int>(random_.below(3 * delay_ + 1));
      end.pulls.push_back({std::move(packet), std::move(*into)});
    }
  }
  for (size_t i = 0; i < end.pulls.size();) {
    const End& sender = ends_[end.pulls[i].packet.from];
    if (sender.dead ? sender.silent : --end.pulls[i].packet.delay >= 0) {
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
