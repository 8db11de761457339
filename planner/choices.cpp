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

void Choices::cut_stages(const std::string& axis) {
  const int cut = mesh.find_axis(axis);
  CHECK(cut >= 0, axis, mesh.str());
  std::vector<Axis> axes = mesh.axes();
  axes.erase(axes.begin() + cut);
  for (int stage = 0; stage < mesh.axis(cut).size; ++stage) {
    std::vector<DeviceId> stage_devices;
    for (int position = 0; position < mesh.size(); ++position) {
      if (mesh.coordinate(position, cut) == stage) stage_devices.push_back(mesh.device(position));
    }
    pipeline.stages.emplace_back(axes, std::move(stage_devices));
  }
  mesh = pipeline.stages.front();
}

const Mesh& Choices::stage_mesh(int stage) const {
  return pipeline.stages.empty() ? mesh : pipeline.stages[static_cast<size_t>(stage)];
}

int Choices::stage_of(const Mesh& stage_mesh) const {
  const auto& stages = pipeline.stages;
  if (stages.empty()) return 0;
  const auto it = std::find_if(stages.begin(), stages.end(),
                               [&](const Mesh& other) { return other.device(0) == stage_mesh.device(0); });
  CHECK(it != stages.end(), stage_mesh.str());
  return static_cast<int>(it - stages.begin());
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
