#include "sbp/mesh.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

std::string text_of(const std::vector<Axis>& axes) {
  return "mesh " + join(axes, ", ", [](const Axis& axis) { return axis.name + "=" + std::to_string(axis.size); });
}

int64_t product_of(const std::vector<Axis>& axes) {
  int64_t product = 1;
  for (const Axis& axis : axes) product *= axis.size;
  return product;
}

void refuse_bad_axes(const std::vector<Axis>& axes) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].name.empty()) throw PlanError(text_of(axes) + ": axis " + std::to_string(i) + " has no name");
    if (axes[i].size < 1) {
      throw PlanError(text_of(axes) + ": axis '" + axes[i].name + "' has size " + std::to_string(axes[i].size) +
                      "; at least 1 is possible");
    }
    for (size_t j = 0; j < i; ++j) {
      if (axes[i].name == axes[j].name) {
        throw PlanError(text_of(axes) + ": two axes are named '" + axes[i].name + "'; names must differ");
      }
    }
  }
}

std::vector<DeviceId> first_devices(const std::vector<Axis>& axes) {
  refuse_bad_axes(axes);
  std::vector<DeviceId> devices;
  for (int64_t i = 0; i < product_of(axes); ++i) devices.push_back(DeviceId(i));
  return devices;
}

}  // namespace

Mesh::Mesh() : content_(std::make_shared<Content>()) {}

Mesh::Mesh(std::vector<Axis> axes) {
  std::vector<DeviceId> devices = first_devices(axes);
  *this = Mesh(std::move(axes), std::move(devices));
}

Mesh::Mesh(std::vector<Axis> axes, std::vector<DeviceId> devices) {
  refuse_bad_axes(axes);
  if (product_of(axes) != static_cast<int64_t>(devices.size())) {
    throw PlanError(text_of(axes) + ": " + std::to_string(devices.size()) + " devices are given; " +
                    std::to_string(product_of(axes)) + " are needed");
  }
  auto content = std::make_shared<Content>();
  int stride = static_cast<int>(devices.size());
  for (const Axis& axis : axes) {
    stride /= axis.size;
    content->strides.push_back(stride);
  }
  for (size_t i = 0; i < devices.size(); ++i) content->positions.emplace_back(devices[i], static_cast<int>(i));
  std::sort(content->positions.begin(), content->positions.end());
  for (size_t i = 1; i < content->positions.size(); ++i) {
    const DeviceId device = content->positions[i].first;
    if (device == content->positions[i - 1].first) {
      throw PlanError(text_of(axes) + ": device " + std::to_string(device.value) + " is listed twice");
    }
  }
  content->axes = std::move(axes);
  content->devices = std::move(devices);
  content_ = std::move(content);
}

int Mesh::find_axis(std::string_view name) const {
  for (int i = 0; i < axis_count(); ++i) {
    if (axis(i).name == name) return i;
  }
  return -1;
}

int Mesh::position_of(DeviceId device) const {
  const auto& positions = content_->positions;
  const auto it = std::lower_bound(positions.begin(), positions.end(), std::pair(device, 0));
  return it != positions.end() && it->first == device ? it->second : -1;
}

int Mesh::position_at(const std::vector<int>& coordinates) const {
  CHECK(coordinates.size() == axes().size(), coordinates.size(), str());
  int position = 0;
  for (int i = 0; i < axis_count(); ++i) position += coordinates[static_cast<size_t>(i)] * stride(i);
  return position;
}

std::vector<int> Mesh::group(int position, int axis) const {
  const int first = position - coordinate(position, axis) * stride(axis);
  std::vector<int> group(static_cast<size_t>(this->axis(axis).size));
  for (size_t i = 0; i < group.size(); ++i) group[i] = first + static_cast<int>(i) * stride(axis);
  return group;
}

std::string Mesh::str() const { return text_of(axes()); }

bool Mesh::operator==(const Mesh& other) const {
  return content_ == other.content_ || (axes() == other.axes() && devices() == other.devices());
}

}  // namespace troupe
