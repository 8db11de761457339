#include "runtime/comm/chunks.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace troupe {

Pieces PieceCutter::take(int64_t bytes) {
  Pieces taken;
  while (bytes > 0) {
    CHECK(next_ < pieces_.size(), bytes);
    std::span<std::byte>& rest = pieces_[next_];
    taken.push_back(rest.first(std::min(static_cast<size_t>(bytes), rest.size())));
    rest = rest.subspan(taken.back().size());
    bytes -= static_cast<int64_t>(taken.back().size());
    if (rest.empty()) ++next_;
  }
  return taken;
}

// ---- outgoing ----

void OutgoingChunks::add(uint64_t message, Pieces pieces, uint64_t tag) {
  const int64_t bytes = size_of(pieces);
  messages_.push_back({message, tag, PieceCutter(std::move(pieces)), bytes});
}

std::optional<OutgoingChunks::Chunk> OutgoingChunks::next() {
  if (under_way_ >= kChunksUnderWay) return std::nullopt;
  const auto it = std::ranges::find_if(messages_, [](const Message& each) { return each.offset < each.bytes; });
  if (it == messages_.end()) return std::nullopt;
  const int64_t bytes = std::min(kChunkBytes, it->bytes - it->offset);
  Chunk chunk{{it->message, it->offset}, it->pieces.take(bytes)};
  it->offset += bytes;
  ++it->under_way;
  ++under_way_;
  return chunk;
}

void OutgoingChunks::sent(uint64_t message, bool went) {
  const auto it = std::ranges::find(messages_, message, &Message::message);
  CHECK(it != messages_.end() && it->under_way > 0, message);
  --it->under_way;
  --under_way_;
  if (!went) it->offset = it->bytes;
}

void OutgoingChunks::end() {
  for (Message& each : messages_) each.offset = each.bytes;
}

std::vector<uint64_t> OutgoingChunks::over() {
  std::vector<uint64_t> tags;
  std::erase_if(messages_, [&](const Message& each) {
    const bool is_over = each.offset == each.bytes && each.under_way == 0;
    if (is_over) tags.push_back(each.tag);
    return is_over;
  });
  return tags;
}

// ---- incoming ----

void IncomingChunks::begin(uint64_t message, Network::User::Into into, int64_t bytes) {
  const bool fits = size_of(into.pieces) == bytes;
  const auto [it, fresh] =
      messages_.try_emplace(message, Message{into.tag, into.peer, PieceCutter(std::move(into.pieces)), bytes});
  if (!fresh) return over_.emplace_back(into.tag, false), void();
  it->second.ended = !fits;
  look(it);
}

std::optional<Pieces> IncomingChunks::next(const ChunkHeader& header, int64_t bytes) {
  const auto it = messages_.find(header.message);
  if (it == messages_.end()) return std::nullopt;
  Message& message = it->second;
  message.ended |= header.offset != message.offset || bytes <= 0 || bytes > message.bytes - message.offset;
  if (message.ended) return look(it), std::nullopt;
  message.offset += bytes;
  ++message.under_way;
  return message.pieces.take(bytes);
}

void IncomingChunks::received(uint64_t message, int64_t bytes, bool complete) {
  const auto it = messages_.find(message);
  CHECK(it != messages_.end() && it->second.under_way > 0, message);
  --it->second.under_way;
  it->second.here += complete ? bytes : 0;
  it->second.ended |= !complete;
  look(it);
}

void IncomingChunks::end(int peer) {
  for (auto it = messages_.begin(); it != messages_.end();) {
    const auto next = std::next(it);
    it->second.ended |= it->second.peer == peer;
    look(it);
    it = next;
  }
}

void IncomingChunks::look(std::map<uint64_t, Message>::iterator message) {
  const Message& of = message->second;
  const bool whole = of.here == of.bytes;
  if (of.under_way > 0 || (!of.ended && !whole)) return;
  over_.emplace_back(of.tag, whole && !of.ended);
  messages_.erase(message);
}

}  // namespace troupe
