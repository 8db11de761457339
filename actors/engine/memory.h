// The memory of every device of this process. Variables and workspace are shared by the plans of an epoch; each plan
// has an io arena of its own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/device/arena.h"
#include "runtime/plan/plan.h"

namespace troupe {

// Not thread-safe; grows only while nothing runs.
class Memory {
 public:
  // Makes room for a plan: variables keep their bytes when their arena grows, workspace does not. Throws
  // std::bad_alloc with nothing changed.
  void add(const Plan& plan, int index);
  // Drops the plan's io arenas.
  void remove(int index);
  // All of it.
  void clear();

  std::byte* base(const std::string& device, ArenaKind kind, int index) const;
  int64_t bytes(const std::string& device, ArenaKind kind, int index) const;

 private:
  struct OfDevice {
    Arena variables;
    Arena workspace;
    std::map<int, Arena> io;  // by plan
  };
  const Arena& arena(const std::string& device, ArenaKind kind, int index) const;

  std::map<std::string, OfDevice> devices_;
};

}  // namespace troupe
