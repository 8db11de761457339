// The memory of every device that a process uses. Variables and workspace are shared by the plans of an epoch; each
// plan has an io arena of its own. Where processes share no memory, each has arenas for the devices of others too, at
// whose places it keeps what it has read of theirs.
//
// With a backend, a CUDA device's variables and workspace lie on it, and all else in host memory that its kernels reach
// directly: what sources have read and what the driver fetches goes without a copy.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/device/arena.h"
#include "runtime/device/backend.h"
#include "runtime/plan/plan.h"

namespace troupe {

// Not thread-safe; grows only while nothing runs.
class Memory {
 public:
  // An arena as other processes find it.
  struct Block {
    std::string device;
    ArenaKind kind = ArenaKind::workspace;
    int index = 0;  // of the plan, for an io arena
    ArenaFile file;
  };
  enum class Kind { own, shared };

  // Shared: its arenas can be opened by other processes of the host. `is_far` says of a device whether it is another
  // process's that shares no memory; by default none is. The backend, of plans with CUDA devices, outlives the memory.
  explicit Memory(Kind kind = Kind::own, std::function<bool(const std::string&)> is_far = nullptr,
                  DeviceBackend* backend = nullptr)
      : kind_(kind), is_far_(std::move(is_far)), backend_(backend) {}

  // Makes room for a plan: variables keep their bytes when their arena grows, but not those of a far device; workspace
  // does not. True when arenas of variables have grown. Throws std::bad_alloc or FaultError with nothing changed.
  bool add(const Plan& plan, int index);
  // Drops the plan's io arenas.
  void remove(int index);
  // All of it.
  void clear();

  std::byte* base(const std::string& device, ArenaKind kind, int index) const;
  int64_t bytes(const std::string& device, ArenaKind kind, int index) const;
  // Whether the host can touch it.
  bool is_on_host(const std::string& device, ArenaKind kind) const;
  // From any of it, or of the host, to any, while nothing runs. FaultError.
  void copy(std::byte* to, const std::byte* from, int64_t bytes) const;

  // The arenas that a plan uses, for other processes; of shared memory.
  std::vector<Block> blocks(const Plan& plan, int index) const;
  // Uses another process's arena in place of what there was; what `add` then needs is there.
  void put(const Block& block);

 private:
  struct OfDevice {
    Arena variables;
    Arena workspace;
    std::map<int, Arena> io;  // by plan
  };
  Arena make(const std::string& device, ArenaKind kind, int64_t bytes) const;
  const Arena& arena(const std::string& device, ArenaKind kind, int index) const;

  Kind kind_;
  std::function<bool(const std::string&)> is_far_;
  DeviceBackend* backend_;
  std::map<std::string, OfDevice> devices_;
};

}  // namespace troupe
