// Bytes of a block of memory that lie apart from one another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace troupe {

// `count` runs of `bytes` each, the first at `offset`, one every `stride`.
struct ByteRuns {
  int64_t offset = 0;
  int64_t bytes = 0;
  int64_t count = 1;
  int64_t stride = 0;
  int64_t total() const { return bytes * count; }
  bool operator==(const ByteRuns&) const = default;
};

}  // namespace troupe
