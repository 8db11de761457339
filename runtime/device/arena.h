// An arena: one block of device memory, allocated once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "runtime/base/align.h"

namespace troupe {

// How another process of this host finds a shared arena: a file that the process which made it holds open.
struct ArenaFile {
  int64_t process = 0;
  int64_t file = -1;
  int64_t bytes = 0;
};

// Host memory for a CPU device, zeroed, page-aligned; or a backend's. Not copied; moved only.
class Arena {
 public:
  Arena() = default;
  // Of this process alone. Throws std::bad_alloc.
  explicit Arena(int64_t bytes);
  // The same for memory of which few pages will ever be touched: it counts only what is.
  static Arena sparse(int64_t bytes);
  // A backend's: of a device, or of the host.
  Arena(std::shared_ptr<std::byte> memory, int64_t bytes)
      : data_(memory.get()), bytes_(bytes), of_backend_(std::move(memory)) {}
  // One that other processes may open. It has no name in any file system and goes with the last process that maps it,
  // so a process that is killed leaves nothing behind. Throws std::bad_alloc.
  static Arena shared(int64_t bytes);
  // Another process's. Throws FaultError when that process, or its arena, is no longer there.
  static Arena open(const ArenaFile& file);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // For others to open; only of one made by `shared`, and while it lives.
  ArenaFile file() const;

 private:
  void map(int flags);  // all of bytes_

  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
  int file_ = -1;
  std::shared_ptr<std::byte> of_backend_;
};

}  // namespace troupe
