#include "planner/choices.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace troupe {

int Choices::data_parallel_size() const {
  int size = 1;
  for (const std::string& data_axis : data_axes) {
    const int axis = mesh.find_axis(data_axis);
    if (axis >= 0) size *= mesh.axis(axis).size;
  }
  return size;
}

int Choices::rounds() const { return shards_of(batch_shards, data_parallel_size(), 0).count * pieces_per_shard; }

ShardRange shards_of(int batch_shards, int ranks, int rank) {
  CHECK(rank >= 0 && rank < ranks, rank, ranks);
  const Part part = part_of(batch_shards, ranks, rank);
  return {static_cast<int>(part.offset), static_cast<int>(part.size)};
}

}  // namespace troupe
