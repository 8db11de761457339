#include "planner/choices.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace troupe {

bool Choices::is_data_axis(int axis) const {
  return std::find(data_axes.begin(), data_axes.end(), mesh.axis(axis).name) != data_axes.end();
}

std::vector<int> Choices::split_data_axes() const {
  std::vector<int> axes;
  for (int axis = 0; axis < mesh.axis_count(); ++axis) {
    if (is_data_axis(axis) && mesh.axis(axis).size > 1) axes.push_back(axis);
  }
  return axes;
}

int Choices::data_parallel_size() const {
  int size = 1;
  for (int axis : split_data_axes()) size *= mesh.axis(axis).size;
  return size;
}

int Choices::rounds() const { return shards_of(batch_shards, data_parallel_size(), 0).count * pieces_per_shard; }

ShardRange shards_of(int batch_shards, int ranks, int rank) {
  CHECK(rank >= 0 && rank < ranks, rank, ranks);
  const Part part = part_of(batch_shards, ranks, rank);
  return {static_cast<int>(part.offset), static_cast<int>(part.size)};
}

}  // namespace troupe
