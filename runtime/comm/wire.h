// The headers of messages between processes that share no memory, and their bytes (wire.capnp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "runtime/comm/message.h"

namespace troupe {

// Bytes in the memory of the process that is asked for them, or is to take them.
struct WirePlace {
  uint64_t request = 0;  // what the answer is known by
  uint16_t plan = 0;
  int32_t reg = -1;  // -1: of shared memory that the process has open as `file`
  int32_t slot = 0;
  int32_t reader = -1;  // what this task reads of the register; -1: all of it
  int64_t file = -1;
  int64_t bytes = 0;
  bool operator==(const WirePlace&) const = default;
};

// A message of a task actor.
struct WireNote {
  Message message;
  int32_t executor = -1;  // that sends it
  bool operator==(const WireNote&) const = default;
};
struct WireNotes {
  std::vector<WireNote> notes;  // 1 to kMostNotes
  uint8_t bytes_of = 0;         // the one that bytes behind the header belong to
  bool operator==(const WireNotes&) const = default;
};
struct WireFetch {
  WirePlace place;
  bool operator==(const WireFetch&) const = default;
};
struct WireFetched {  // the bytes follow
  uint64_t request = 0;
  bool operator==(const WireFetched&) const = default;
};
struct WireStore {  // the bytes follow
  WirePlace place;
  bool operator==(const WireStore&) const = default;
};
struct WireStored {
  uint64_t request = 0;
  bool operator==(const WireStored&) const = default;
};
struct WireRefused {  // a fetch or a store could not be carried out
  uint64_t request = 0;
  std::string why;
  bool operator==(const WireRefused&) const = default;
};
struct WireBeat {      // the link lives, both ways:
  uint64_t heard = 0;  // the number of the last message from there
  bool operator==(const WireBeat&) const = default;
};
struct WireFence {  // whoever says it has nothing more under way
  uint64_t number = 0;
  bool operator==(const WireFence&) const = default;
};

struct WireHeader {
  uint64_t key = 0;       // of the run
  int32_t from = 0;       // the process that says it
  uint64_t checksum = 0;  // of the bytes behind the header; 0: not computed
  uint64_t number = 0;    // of what it says to this process, from 1
  std::variant<WireNotes, WireFetch, WireFetched, WireStore, WireStored, WireRefused, WireBeat, WireFence> body;
  bool operator==(const WireHeader&) const = default;
};

// More bytes than this are no header.
constexpr size_t kMostHeaderBytes = 2048;
constexpr size_t kMostNotes = 32;

// Appends nothing: `into` holds the bytes of this header alone. A long text of a refusal is cut.
void write_header(const WireHeader& header, std::vector<std::byte>& into);
// Nothing when the bytes are no header: of any bytes, none is read beyond their end, and memory and time are bounded.
// What the numbers mean is for the reader to check.
std::optional<WireHeader> read_header(std::span<const std::byte> bytes);

// Of bytes in order, whatever runs they come in; never 0. A bijection per word, as the plan's.
class WireChecksum {
 public:
  void add(std::span<const std::byte> bytes);
  uint64_t value() const;

 private:
  uint64_t state_ = 0;
  uint64_t word_ = 0;  // begun
  int filled_ = 0;     // bytes of it
  uint64_t size_ = 0;
};

}  // namespace troupe
