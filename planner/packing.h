// Offline packing: buffers with known lifetimes into one arena.
#pragma once

#include <cstdint>
#include <vector>

namespace troupe {

// Lives from the firing at `first` to the firing at `last`, both included, and takes `bytes`.
struct Lifetime {
  int first = 0;
  int last = 0;
  int64_t bytes = 0;
  bool overlaps(const Lifetime& other) const { return first <= other.last && other.first <= last; }
};

struct Packing {
  std::vector<int64_t> offsets;  // by buffer; multiples of kArenaAlignment
  int64_t bytes = 0;             // the arena's size
  int64_t peak = 0;              // the most bytes that live at one time: no packing is smaller
};

// Largest first, each at the lowest place where it fits (Pisarchyk and Lee 2020, "greedy by size"). Deterministic.
Packing pack(const std::vector<Lifetime>& lifetimes);

}  // namespace troupe
