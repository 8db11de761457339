// All lanes of a run side by side in one block of memory, so that whoever maps the block finds each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "actors/engine/lane.h"

namespace troupe {

// Every process of a run computes the same table from the same plans.
class LaneTable {
 public:
  explicit LaneTable(int executors = 0);

  // Makes room for at least messages(from, to) in each lane; no lane ever shrinks, so that what is in use fits. True
  // when the table has changed: then it lies nowhere until it is placed again.
  bool grow(const std::function<int64_t(int, int)>& messages);
  int executors() const { return executors_; }
  size_t bytes() const { return bytes_; }
  // At bytes() zeroed bytes, aligned to a page.
  void place(std::byte* memory) { memory_ = memory; }
  // Empty where no message ever goes.
  Lane lane(int from, int to) const;

 private:
  int executors_;
  std::vector<size_t> capacities_;  // from * executors + to; 0: no lane
  std::vector<size_t> offsets_;
  size_t bytes_ = 0;
  std::byte* memory_ = nullptr;
};

}  // namespace troupe
