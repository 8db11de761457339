// An arena: one block of device memory, allocated once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/base/align.h"

namespace troupe {

// Host memory for a CPU device, zeroed, page-aligned. Neither copied nor shared; moved only.
class Arena {
 public:
  Arena() = default;
  // Throws std::bad_alloc.
  explicit Arena(int64_t bytes);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace troupe
