// What task actors tell each other.
#pragma once

#include <cstdint>

namespace troupe {

// `ready`: a version of a register may be read; to one reader. `freed`: a reader is done with a version; to the
// producer. Task and port are those of the addressee; the rest is checked on arrival.
enum class MessageKind : uint8_t { ready, freed };

struct Message {
  int64_t version = 0;  // of the register, counted from the start of the plan's life
  uint32_t epoch = 0;   // the plan's life; a message of an older one is dropped
  int32_t task = -1;
  int32_t port = -1;  // ready: the input; freed: the reader
  int32_t reg = -1;
  int32_t slot = 0;
  uint16_t plan = 0;
  MessageKind kind = MessageKind::ready;
  bool operator==(const Message&) const = default;
};
static_assert(sizeof(Message) == 32);  // two in a cache line

}  // namespace troupe
