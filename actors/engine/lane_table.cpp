#include "actors/engine/lane_table.h"

#include <algorithm>

namespace troupe {

LaneTable::LaneTable(int executors)
    : executors_(executors), capacities_(static_cast<size_t>(executors * executors)), offsets_(capacities_.size()) {}

bool LaneTable::grow(const std::function<int64_t(int, int)>& messages) {
  bool changed = false;
  bytes_ = 0;
  for (int from = 0, i = 0; from < executors_; ++from) {
    for (int to = 0; to < executors_; ++to, ++i) {
      size_t& capacity = capacities_[static_cast<size_t>(i)];
      const int64_t needed = messages(from, to);
      const size_t wanted = needed == 0 ? capacity : std::max(capacity, Lane::capacity_for(needed));
      changed |= wanted != capacity;
      capacity = wanted;
      offsets_[static_cast<size_t>(i)] = bytes_;
      if (capacity > 0) bytes_ += Lane::bytes_for(capacity);
    }
  }
  if (changed) memory_ = nullptr;
  return changed;
}

Lane LaneTable::lane(int from, int to) const {
  const auto i = static_cast<size_t>(from * executors_ + to);
  if (capacities_.at(i) == 0) return {};
  CHECK(memory_ != nullptr, "lanes are not placed");
  return {memory_ + offsets_[i], capacities_[i]};
}

}  // namespace troupe
