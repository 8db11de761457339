// Large messages go in chunks, so that small ones need not wait behind all of their bytes: a network first says that one
// comes, then sends its bytes in order, a few chunks at a time. What is left to do is kept here; the network moves them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/comm/network.h"

namespace troupe {

// Measured with tests/bench/wire_bench.cpp: small enough for the small messages, and no slower than all bytes at once.
constexpr int64_t kChunkBytes = 1 << 20;  // a message of more is large
constexpr int kChunksUnderWay = 2;        // to one peer: one is on its way while the next is agreed on

// What goes before a chunk, and with `offset` as the bytes in all before the header of a large message.
struct ChunkHeader {
  uint64_t message = 0;  // nobody else can guess it
  int64_t offset = 0;
};

// Takes pieces apart, from front to back.
class PieceCutter {
 public:
  explicit PieceCutter(Pieces pieces) : pieces_(std::move(pieces)) {}
  // The next so many bytes, which must be there.
  Pieces take(int64_t bytes);

 private:
  Pieces pieces_;
  size_t next_ = 0;
};

// Large messages to one peer, first come first served.
class OutgoingChunks {
 public:
  struct Chunk {
    ChunkHeader header;
    Pieces pieces;
  };
  void add(uint64_t message, Pieces pieces, uint64_t tag);
  // One that is to be sent now; nothing while enough are under way.
  std::optional<Chunk> next();
  // One of this message is sent, or did not go.
  void sent(uint64_t message, bool went);
  // No more are sent.
  void end();
  // The tags of messages of which no chunk is under way and none will be, once.
  std::vector<uint64_t> over();

 private:
  struct Message {
    uint64_t message;
    uint64_t tag;
    PieceCutter pieces;
    int64_t bytes;
    int64_t offset = 0;  // of the next chunk
    int under_way = 0;
  };
  std::deque<Message> messages_;
  int under_way_ = 0;  // of all
};

// Large messages of all peers. One is over when its chunks have come, or when one has not and none is under way.
class IncomingChunks {
 public:
  void begin(uint64_t message, Network::User::Into into, int64_t bytes);
  // Where a chunk goes; nothing to let it go by.
  std::optional<Pieces> next(const ChunkHeader& header, int64_t bytes);
  // What `next` gave is there, or did not come.
  void received(uint64_t message, int64_t bytes, bool complete);
  // No more come from this peer.
  void end(int peer);
  // Tags, with whether all is there, once.
  std::vector<std::pair<uint64_t, bool>> over() { return std::exchange(over_, {}); }
  bool idle() const { return over_.empty(); }

 private:
  struct Message {
    uint64_t tag;
    int peer;
    PieceCutter pieces;
    int64_t bytes;
    int64_t offset = 0;  // of the next chunk
    int64_t here = 0;    // bytes
    int under_way = 0;
    bool ended = false;
  };
  void look(std::map<uint64_t, Message>::iterator message);

  std::map<uint64_t, Message> messages_;
  std::vector<std::pair<uint64_t, bool>> over_;
};

}  // namespace troupe
