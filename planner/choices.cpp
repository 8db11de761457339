#include "planner/choices.h"

#include <algorithm>
#include <cstdlib>

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

void Choices::add_hosts() {
  const auto count = static_cast<int64_t>(devices.size());
  for (int stage = 0; stage < pipeline.stage_count(); ++stage) {
    std::vector<DeviceId> beside;
    for (DeviceId device : stage_mesh(stage).devices()) beside.emplace_back(device.value + count);
    hosts.emplace_back(mesh.axes(), std::move(beside));
  }
  for (size_t d = 0; d < static_cast<size_t>(count); ++d) {
    devices.push_back("host" + devices[d].substr(devices[d].find(':')));
    topology.places.push_back(topology.places[d]);
    topology.places.back().switch_in_host = Topology::kHostMemory;
  }
}

const Mesh& Choices::stage_mesh(int stage) const {
  if (is_host(stage)) return host_mesh(beside(stage));
  return pipeline.stages.empty() ? mesh : pipeline.stages[static_cast<size_t>(stage)];
}

int Choices::stage_of(const Mesh& stage_mesh) const {
  if (stages() == 1) return 0;
  for (int stage = 0; stage < stages(); ++stage) {
    if (this->stage_mesh(stage) == stage_mesh) return stage;
  }
  CHECK(false, stage_mesh.str());
  std::abort();
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
