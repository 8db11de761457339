// What processes read of each other's registers on devices: copies of them in the images of arenas (memory.h), which the
// producers' queues make and the readers' kernels reach.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "actors/engine/crossings.h"
#include "actors/engine/memory.h"
#include "actors/engine/plan_life.h"
#include "actors/engine/regions.h"

namespace troupe {

// The bytes of each slot of a register that tasks of other processes read, from the first to the last.
struct SharedPart {
  RegisterId reg;
  int64_t begin = 0;
  int64_t bytes = 0;
};
// Of the registers of a process; each once.
std::vector<SharedPart> shared_parts(const Crossings& crossings, int process);

// The memory of the host that devices of a process must reach, in whole pages: where what crosses to it and from it lies, what
// its sources write and its driver fetches, and what it has beside its devices.
std::vector<Region> reached_memory(const PlanLife& life, const Memory& memory, const Crossings& crossings, int process,
                                   const std::function<int(const std::string&)>& process_of);

}  // namespace troupe
