#include "runtime/comm/wire.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/base/random.h"
#include "runtime/comm/wire.capnp.h"

namespace troupe {
namespace {

constexpr size_t kWord = sizeof(capnp::word);
constexpr size_t kLongestText = 1024;

void put(wire::Place::Builder to, const WirePlace& from) {
  to.setRequest(from.request);
  to.setPlan(from.plan);
  to.setRegister(from.reg);
  to.setSlot(from.slot);
  to.setReader(from.reader);
  to.setFile(from.file);
  to.setBytes(from.bytes);
}

WirePlace place_of(wire::Place::Reader from) {
  return {from.getRequest(), from.getPlan(), from.getRegister(), from.getSlot(),
          from.getReader(),  from.getFile(), from.getBytes()};
}

void put(wire::Note::Builder to, const WireNote& note) {
  const Message& from = note.message;
  to.setKind(static_cast<uint8_t>(from.kind));
  to.setPlan(from.plan);
  to.setEpoch(from.epoch);
  to.setTask(from.task);
  to.setPort(from.port);
  to.setRegister(from.reg);
  to.setSlot(from.slot);
  to.setVersion(from.version);
  to.setExecutor(note.executor);
}

std::optional<WireHeader> body_of(wire::Header::Reader from) {
  WireHeader header{from.getKey(), from.getFrom(), from.getChecksum(), from.getNumber(), WireBeat{}};
  switch (from.which()) {
    case wire::Header::NOTES: {
      const auto list = from.getNotes().getList();
      if (list.size() > kMostNotes || from.getNotes().getBytesOf() >= list.size()) return std::nullopt;
      WireNotes body;
      body.bytes_of = from.getNotes().getBytesOf();
      for (const auto note : list) {
        if (note.getKind() > static_cast<uint8_t>(MessageKind::freed)) return std::nullopt;
        body.notes.push_back({{note.getVersion(), note.getEpoch(), note.getTask(), note.getPort(), note.getRegister(),
                               note.getSlot(), note.getPlan(), static_cast<MessageKind>(note.getKind())},
                              note.getExecutor()});
      }
      header.body = std::move(body);
      return header;
    }
    case wire::Header::FETCH:
      header.body = WireFetch{place_of(from.getFetch())};
      return header;
    case wire::Header::FETCHED:
      header.body = WireFetched{from.getFetched()};
      return header;
    case wire::Header::STORE:
      header.body = WireStore{place_of(from.getStore())};
      return header;
    case wire::Header::STORED:
      header.body = WireStored{from.getStored()};
      return header;
    case wire::Header::REFUSED:
      header.body = WireRefused{from.getRefused().getRequest(), from.getRefused().getWhy().cStr()};
      return header;
    case wire::Header::BEAT:
      header.body = WireBeat{from.getBeat()};
      return header;
    case wire::Header::FENCE:
      header.body = WireFence{from.getFence()};
      return header;
  }
  return std::nullopt;  // of a later version
}

}  // namespace

void write_header(const WireHeader& header, std::vector<std::byte>& into) {
  std::array<capnp::word, kMostHeaderBytes / kWord> room{};  // the builder wants it zeroed
  capnp::MallocMessageBuilder message(kj::arrayPtr(room.data(), room.size()));
  auto to = message.initRoot<wire::Header>();
  to.setKey(header.key);
  to.setFrom(header.from);
  to.setChecksum(header.checksum);
  to.setNumber(header.number);
  std::visit(
      [&](const auto& body) {
        using T = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<T, WireNotes>) {
          auto notes = to.initNotes();
          notes.setBytesOf(body.bytes_of);
          auto list = notes.initList(static_cast<unsigned>(body.notes.size()));
          for (unsigned i = 0; i < list.size(); ++i) put(list[i], body.notes[i]);
        }
        if constexpr (std::is_same_v<T, WireFetch>) put(to.initFetch(), body.place);
        if constexpr (std::is_same_v<T, WireFetched>) to.setFetched(body.request);
        if constexpr (std::is_same_v<T, WireStore>) put(to.initStore(), body.place);
        if constexpr (std::is_same_v<T, WireStored>) to.setStored(body.request);
        if constexpr (std::is_same_v<T, WireRefused>) {
          auto refused = to.initRefused();
          refused.setRequest(body.request);
          refused.setWhy(body.why.substr(0, kLongestText));
        }
        if constexpr (std::is_same_v<T, WireBeat>) to.setBeat(body.heard);
        if constexpr (std::is_same_v<T, WireFence>) to.setFence(body.number);
      },
      header.body);
  const auto segment = message.getSegmentsForOutput()[0];  // all of it: there is room
  const auto bytes = std::as_bytes(std::span(segment.begin(), segment.size()));
  into.assign(bytes.begin(), bytes.end());
}

std::optional<WireHeader> read_header(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() > kMostHeaderBytes || bytes.size() % kWord != 0) return std::nullopt;
  std::array<capnp::word, kMostHeaderBytes / kWord> words;  // aligned, which what arrives need not be
  std::memcpy(words.data(), bytes.data(), bytes.size());
  const kj::ArrayPtr<const capnp::word> segment(words.data(), bytes.size() / kWord);
  const kj::ArrayPtr<const capnp::word> segments[] = {segment};
  try {
    capnp::ReaderOptions limits;
    limits.traversalLimitInWords = 2 * words.size();
    limits.nestingLimit = 4;
    capnp::SegmentArrayMessageReader message(kj::arrayPtr(segments, 1), limits);
    return body_of(message.getRoot<wire::Header>());
  } catch (const kj::Exception&) {
    return std::nullopt;
  }
}

void WireChecksum::add(std::span<const std::byte> bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    const size_t taken = std::min(bytes.size(), sizeof(word_) - static_cast<size_t>(filled_));
    std::memcpy(reinterpret_cast<std::byte*>(&word_) + filled_, bytes.data(), taken);
    bytes = bytes.subspan(taken);
    filled_ += static_cast<int>(taken);
    if (filled_ < static_cast<int>(sizeof(word_))) return;
    state_ = mix64(state_ ^ word_);
    word_ = 0;
    filled_ = 0;
  }
}

uint64_t WireChecksum::value() const {
  const uint64_t all = mix64(mix64(state_ ^ word_) ^ size_);
  return all == 0 ? 1 : all;
}

}  // namespace troupe
