#include "actors/engine/exchange.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "actors/engine/registers.h"
#include "runtime/base/check.h"
#include "runtime/base/overloaded.h"

namespace troupe {
namespace {

constexpr double kAssistedSeconds = 20e-6;

uint64_t checksum_of(const Pieces& pieces) {
  WireChecksum sum;
  for (const std::span<std::byte> piece : pieces) sum.add(piece);
  return sum.value();
}

}  // namespace

Exchange::Exchange(std::unique_ptr<Network> network, ExchangeOptions options, const Clock& clock)
    : network_(std::move(network)),
      options_(std::move(options)),
      clock_(clock),
      wakes_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      peers_(options_.names.size()) {
  CHECK(wakes_ >= 0 && options_.far.size() == peers_.size(), wakes_, options_.far.size());
}

Exchange::~Exchange() {
  network_.reset();  // before what it reads and writes
  close(wakes_);
}

void Exchange::connect(const std::vector<std::string>& addresses) {
  const std::lock_guard lock(mutex_);
  const auto refuse = [&](size_t process, const std::string& why) {
    Fault fault;
    fault.what = "the address of " + options_.names[process] + " cannot be used: " + why;
    fault.peer = options_.names[process];
    throw FaultError(std::move(fault));
  };
  for (size_t p = 0; p < peers_.size(); ++p) {
    if (!options_.far[p]) continue;
    if (p >= addresses.size() || addresses[p].empty()) refuse(p, "none was told");
    try {
      network_->connect(static_cast<int>(p), addresses[p]);
    } catch (const FaultError& error) {
      refuse(p, error.fault().what);
    }
    peers_[p].heard = peers_[p].confirmed_at = clock_.now();
  }
  connected_ = true;
}

// ---- between the lanes and the network ----

void Exchange::set_lanes(const LaneTable& lanes, ExecutorRange own, Doorbell* doorbells) {
  outgoing_.clear();
  incoming_.clear();
  doorbells_ = doorbells;
  for (int here = own.first; here < own.first + own.count; ++here) {
    for (int there = 0; there < lanes.executors(); ++there) {
      if (!is_far(there)) continue;
      if (const Lane lane = lanes.lane(here, there)) outgoing_.push_back({LaneReceiver(lane), here, there});
      if (const Lane lane = lanes.lane(there, here)) incoming_.emplace(std::pair(there, here), LaneSender(lane));
    }
  }
}

bool Exchange::drain() {
  bool something = false;
  Message message;
  for (FarLane& far : outgoing_) {
    while (far.lane.take(message)) {
      post(far, message);
      something = true;
    }
  }
  for (size_t p = 0; p < peers_.size() && something; ++p) send_notes(static_cast<int>(p));
  return something;
}

void Exchange::post(const FarLane& lane, const Message& message) {
  const int process = options_.process_of[static_cast<size_t>(lane.to)];
  const auto it = plans_.find(message.plan);
  if (it == plans_.end()) return;
  Loaded& loaded = it->second;
  if (message.epoch != loaded.life->epoch) return;
  if (loaded.epoch != message.epoch) {
    loaded.epoch = message.epoch;
    std::fill(loaded.sent.begin(), loaded.sent.end(), -1);
  }
  Pieces pieces;
  if (message.kind == MessageKind::ready) {
    const RegisterId reg(message.reg);
    const int number = loaded.crossings.find(TaskId(message.task), reg);
    if (number >= 0 && loaded.sent[static_cast<size_t>(number)] < message.version) {
      loaded.sent[static_cast<size_t>(number)] = message.version;
      const Registers registers(*loaded.memory, *loaded.life);
      pieces =
          pieces_of(loaded.crossings.at(number).runs, registers.bytes(reg, static_cast<size_t>(message.slot)).data());
    }
  }
  Peer& peer = peers_[static_cast<size_t>(process)];
  const bool full = peer.notes.notes.size() == kMostNotes || (!pieces.empty() && !peer.pieces.empty());
  if (full) send_notes(process);
  if (!pieces.empty()) {
    peer.notes.bytes_of = static_cast<uint8_t>(peer.notes.notes.size());
    peer.pieces = std::move(pieces);
  }
  peer.notes.notes.push_back({message, lane.from});
}

void Exchange::send_notes(int process) {
  Peer& peer = peers_[static_cast<size_t>(process)];
  if (!peer.notes.notes.empty()) send(process, std::exchange(peer.notes, {}), std::exchange(peer.pieces, {}));
}

Exchange::Loaded* Exchange::find_live(const Message& message) {
  const auto it = plans_.find(message.plan);
  if (it == plans_.end() || it->second.life->fresh || it->second.life->epoch != message.epoch) return nullptr;
  return &it->second;
}

Network::User::Into Exchange::expect(Arriving arriving) {
  Into into{arriving.pieces, next_++, arriving.from};
  arriving_bytes_ += size_of(arriving.pieces);
  arriving_.emplace(into.tag, std::move(arriving));
  return into;
}

void Exchange::deliver(const WireNote& note) {
  const Message& message = note.message;
  Loaded* loaded = find_live(message);
  if (loaded == nullptr) return;
  const int to = loaded->loaded->executor_of(loaded->life->plan().task(TaskId(message.task)).stream);
  const auto lane = incoming_.find({note.executor, to});
  if (lane == incoming_.end() || lane->second.full()) {
    raise(options_.process_of[static_cast<size_t>(note.executor)], "sent more messages than its credits allow");
    return;
  }
  lane->second.stage(message);
  lane->second.publish();
  if (doorbells_[to].rouse() && wake_executor) wake_executor(to);
}

// ---- the network's calls ----

std::optional<Network::User::Into> Exchange::arrived(std::span<const std::byte> bytes, int64_t size) {
  const std::optional<WireHeader> header = read_header(bytes);
  if (!header || header->key != options_.key) return std::nullopt;  // no member of the run
  if (header->from < 0 || static_cast<size_t>(header->from) >= peers_.size() || !is_far_process(header->from)) {
    return std::nullopt;
  }
  Peer& peer = peers_[static_cast<size_t>(header->from)];
  if (!is_due(header->from, header->number)) return std::nullopt;
  peer.heard = clock_.now();
  const auto asked = [&](uint64_t request) {
    const auto it = requests_.find(request);
    return it != requests_.end() && it->second.process == header->from;
  };
  return std::visit(Overloaded{
                        [&](const WireNotes& notes) { return take(*header, notes, size); },
                        [&](const WireFetched& fetched) { return take(*header, fetched, size); },
                        [&](const WireStore& store) { return take(*header, store, size); },
                        [&](const WireFetch& fetch) -> std::optional<Into> {
                          later_.push_back([this, from = header->from, place = fetch.place] { serve(from, place); });
                          return std::nullopt;
                        },
                        [&](const WireStored& stored) -> std::optional<Into> {
                          if (!asked(stored.request)) return std::nullopt;
                          const bool right = requests_.at(stored.request).is_store;
                          settle(stored.request, right ? "" : "instead of the bytes it said that it has kept them");
                          return std::nullopt;
                        },
                        [&](const WireRefused& refused) -> std::optional<Into> {
                          if (asked(refused.request)) settle(refused.request, refused.why, true);
                          return std::nullopt;
                        },
                        [&](const WireFence& fence) -> std::optional<Into> {
                          peer.fence = std::max(peer.fence, fence.number);
                          return std::nullopt;
                        },
                        [&](const WireBeat& beat) -> std::optional<Into> {
                          if (beat.heard > std::exchange(peer.confirmed, beat.heard)) peer.confirmed_at = peer.heard;
                          return std::nullopt;
                        },
                    },
                    header->body);
}

std::optional<Network::User::Into> Exchange::take(const WireHeader& header, const WireFetched& fetched, int64_t bytes) {
  const auto it = requests_.find(fetched.request);
  if (it == requests_.end() || it->second.process != header.from) return std::nullopt;  // nobody waits for it any more
  if (it->second.is_store) {
    settle(fetched.request, "instead of keeping the bytes it sent some");
    return std::nullopt;
  }
  if (bytes != size_of(it->second.pieces)) {
    settle(fetched.request,
           "has " + std::to_string(bytes) + " bytes instead of " + std::to_string(size_of(it->second.pieces)));
    return std::nullopt;
  }
  Arriving arriving;
  arriving.from = header.from;
  arriving.checksum = header.checksum;
  arriving.pieces = it->second.pieces;
  arriving.fetched = fetched.request;
  arriving.keep = it->second.keep;
  return expect(std::move(arriving));
}

std::optional<Network::User::Into> Exchange::take(const WireHeader& header, const WireStore& store, int64_t bytes) {
  Arriving arriving;
  auto found = pieces_at(store.place, header.from, arriving.keep);
  std::string why = std::holds_alternative<std::string>(found) ? std::get<std::string>(found) : std::string();
  if (store.place.reg < 0 || store.place.reader >= 0) why = "is not to be written";
  if (why.empty() && size_of(std::get<Pieces>(found)) != bytes) why = "has another size here";
  if (!why.empty()) {
    later_.push_back(
        [this, from = header.from, request = store.place.request, why] { send(from, WireRefused{request, why}); });
    return std::nullopt;
  }
  arriving.from = header.from;
  arriving.checksum = header.checksum;
  arriving.pieces = std::get<Pieces>(std::move(found));
  arriving.stored = store.place.request;
  return expect(std::move(arriving));
}

void Exchange::received(uint64_t tag, bool complete) {
  const auto it = arriving_.find(tag);
  if (it == arriving_.end()) return;
  arriving_bytes_ -= size_of(it->second.pieces);
  peers_[static_cast<size_t>(it->second.from)].heard = clock_.now();
  std::string failure;
  if (!complete) failure = "did not arrive whole";
  if (complete && it->second.checksum != 0 && checksum_of(it->second.pieces) != it->second.checksum) {
    failure = "arrived with bytes that do not have their checksum";
  }
  if (it->second.crossing >= 0) return arrived_version(it->second, failure);
  const Arriving arriving = std::move(it->second);
  arriving_.erase(it);
  if (arriving.fetched != 0) return settle(arriving.fetched, failure);
  later_.push_back([this, arriving, failure] {
    if (failure.empty()) return send(arriving.from, WireStored{arriving.stored});
    send(arriving.from, WireRefused{arriving.stored, failure});
  });
}

// Versions of a crossing are told in order, also where their bytes come in another.
void Exchange::arrived_version(Arriving& arriving, const std::string& failure) {
  const Message message = arriving.notes.front().message;
  arriving.here = true;
  if (!failure.empty()) {
    arriving.notes.clear();
    if (const Loaded* loaded = find_live(message)) {
      raise(arriving.from, "register '" + loaded->life->plan().reg(RegisterId(message.reg)).name + "' " + failure);
    }
  }
  const int crossing = arriving.crossing;
  auto next = pulls_.lower_bound({message.plan, crossing, INT64_MIN});
  while (next != pulls_.end() && std::get<0>(next->first) == message.plan && std::get<1>(next->first) == crossing) {
    const auto first = arriving_.find(next->second);
    if (!first->second.here) return;
    for (const WireNote& note : first->second.notes) deliver(note);
    arriving_.erase(first);
    next = pulls_.erase(next);
  }
}

void Exchange::sent(uint64_t tag) {
  const auto it = sending_.find(tag);
  if (it == sending_.end()) return;
  sending_bytes_ -= it->second.bytes;
  sending_.erase(it);
}

void Exchange::failed(int process, const std::string& why) { raise(process, "is out of reach: " + why); }

void Exchange::raise(int process, const std::string& what, double waited) {
  Peer& peer = peers_[static_cast<size_t>(process)];
  const bool first = !std::exchange(peer.broken, true);
  for (auto it = requests_.begin(); it != requests_.end();) {
    const auto next = std::next(it);
    if (it->second.process == process) settle(it->first, what);
    it = next;
  }
  if (!first) return;
  later_.push_back([this, process] { network_->disconnect(process); });
  Fault fault;
  fault.what = options_.names[static_cast<size_t>(process)] + " " + what;
  fault.peer = options_.names[static_cast<size_t>(process)];
  fault.deadline = waited;
  if (!fault_) fault_ = fault;
  tell_ = true;
  if (on_fault) on_fault(fault);
}

void Exchange::send(int process, Body body, Pieces pieces, std::shared_ptr<const Arena> keep) {
  Peer& peer = peers_[static_cast<size_t>(process)];
  if (peer.broken) return;
  const bool check = options_.checksums && !pieces.empty();
  const uint64_t checksum = check ? checksum_of(pieces) : 0;
  write_header({options_.key, options_.self, checksum, ++peer.said, std::move(body)}, header_);
  const uint64_t tag = next_++;
  const int64_t bytes = size_of(pieces);
  sending_.emplace(tag, Sending{process, bytes, std::move(keep)});
  sending_bytes_ += bytes;
  network_->send(process, header_, std::move(pieces), tag);
}

// ---- the thread ----

void Exchange::fail(const std::string& why) {
  Fault fault;
  fault.what = options_.names[static_cast<size_t>(options_.self)] + " cannot go on with its transfers: " + why;
  if (!fault_) fault_ = fault;
  if (on_fault) on_fault(fault);
}

bool Exchange::carry_on(std::unique_lock<std::mutex> lock) {
  bool something = false;
  try {
    something = drain();
    something |= network_->progress(*this);
    for (const auto& each : std::exchange(later_, {})) each();
    look_at_fences();
    look_at_links();
  } catch (const std::exception& error) {
    fail(error.what());
  }
  const bool tell = std::exchange(tell_, false);
  lock.unlock();
  if (tell && changed) changed();
  return something;
}

bool Exchange::progress() { return carry_on(std::unique_lock(mutex_)); }

bool Exchange::assist() {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;
  carry_on(std::move(lock));
  assisted_.store(clock_.now(), std::memory_order_relaxed);
  return true;
}

bool Exchange::is_assisted() const {
  return clock_.now() - assisted_.load(std::memory_order_relaxed) < kAssistedSeconds;
}

void Exchange::hand_back() {
  assisted_.store(-1, std::memory_order_relaxed);
  if (rests_.exchange(false)) wake();
}

void Exchange::wake() {
  const uint64_t one = 1;
  if (write(wakes_, &one, sizeof(one)) < 0) return;  // it is full: awake in any case
}

void Exchange::sleep(double at_most_s, bool network) {
  bell_.sleeps();
  rests_.store(!network);
  bool work = false;
  {
    const std::lock_guard lock(mutex_);
    for (const FarLane& far : outgoing_) work |= !far.lane.empty();
    if (network) work |= !network_->arm();
  }
  if (!work) {
    pollfd files[] = {{wakes_, POLLIN, 0}, {network_->file(), POLLIN, 0}};
    const timespec time = {static_cast<time_t>(at_most_s), static_cast<long>(std::fmod(at_most_s, 1) * 1e9)};
    ppoll(files, network ? 2 : 1, &time, nullptr);
    uint64_t rung = 0;
    if (read(wakes_, &rung, sizeof(rung)) < 0) rung = 0;  // nobody rang
  }
  rests_.store(false);
  bell_.is_awake();
}

}  // namespace troupe
