// A mesh: an N-dimensional array of devices with named axes, outermost first.
#pragma once

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

class Mesh {
 public:
  Mesh() = default;
  // devices in row-major order of the axes. Throws PlanError when the counts differ, a name or a device repeats or an
  // axis has size < 1.
  Mesh(std::vector<Axis> axes, std::vector<DeviceId> devices);
  // Devices 0..n-1.
  explicit Mesh(std::vector<Axis> axes);

  int axis_count() const { return static_cast<int>(axes_.size()); }
  const std::vector<Axis>& axes() const { return axes_; }
  const Axis& axis(int i) const { return axes_[static_cast<size_t>(i)]; }
  // -1 when there is no such axis.
  int find_axis(std::string_view name) const;
  int size() const { return static_cast<int>(devices_.size()); }
  const std::vector<DeviceId>& devices() const { return devices_; }
  DeviceId device(int position) const { return devices_[static_cast<size_t>(position)]; }
  // The position of a device in row-major order; -1 when it is not in the mesh.
  int position_of(DeviceId device) const;
  // The coordinate of the device at `position` along `axis`.
  int coordinate(int position, int axis) const;
  int position_at(const std::vector<int>& coordinates) const;
  // The positions of the group of `position` along `axis`, in order of their coordinate on it.
  std::vector<int> group(int position, int axis) const;

  // "mesh dp=2, tp=2"
  std::string str() const;
  bool operator==(const Mesh&) const = default;

 private:
  std::vector<Axis> axes_;
  std::vector<DeviceId> devices_;
};

}  // namespace troupe
