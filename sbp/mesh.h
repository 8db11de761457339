// A mesh: an N-dimensional array of devices with named axes, outermost first.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/id.h"

namespace troupe {

struct Axis {
  std::string name;
  int size = 1;
  bool operator==(const Axis&) const = default;
};

// A value: compared by content. Copies share the (immutable) list of devices, because layouts hold their mesh
// by value and a plan has many layouts over thousands of devices.
class Mesh {
 public:
  Mesh();
  // devices in row-major order of the axes. Throws PlanError when the counts differ, a name or a device
  // repeats or an axis has size < 1.
  Mesh(std::vector<Axis> axes, std::vector<DeviceId> devices);
  // Devices 0..n-1.
  explicit Mesh(std::vector<Axis> axes);

  int axis_count() const { return static_cast<int>(content_->axes.size()); }
  const std::vector<Axis>& axes() const { return content_->axes; }
  const Axis& axis(int i) const { return content_->axes[static_cast<size_t>(i)]; }
  // -1 when there is no such axis.
  int find_axis(std::string_view name) const;
  int size() const { return static_cast<int>(content_->devices.size()); }
  const std::vector<DeviceId>& devices() const { return content_->devices; }
  DeviceId device(int position) const { return content_->devices[static_cast<size_t>(position)]; }
  // The position of a device in row-major order; -1 when it is not in the mesh.
  int position_of(DeviceId device) const;
  // How far apart in row-major order two neighbours along `axis` are.
  int stride(int axis) const { return content_->strides[static_cast<size_t>(axis)]; }
  // The coordinate of the device at `position` along `axis`.
  int coordinate(int position, int axis) const { return position / stride(axis) % this->axis(axis).size; }
  int position_at(const std::vector<int>& coordinates) const;
  // The positions of the group of `position` along `axis`, in order of their coordinate on it.
  std::vector<int> group(int position, int axis) const;

  // "mesh dp=2, tp=2"
  std::string str() const;
  bool operator==(const Mesh& other) const;

 private:
  struct Content {
    std::vector<Axis> axes;
    std::vector<DeviceId> devices;
    std::vector<int> strides;                         // by axis
    std::vector<std::pair<DeviceId, int>> positions;  // sorted by device
  };
  std::shared_ptr<const Content> content_;  // never null
};

}  // namespace troupe
