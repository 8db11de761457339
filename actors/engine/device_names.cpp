#include "actors/engine/device_names.h"

#include <algorithm>
#include <charconv>

namespace troupe {

int number_of(const std::string& device) {
  int number = -1;
  const size_t colon = device.find(':');
  if (colon != std::string::npos) std::from_chars(device.data() + colon + 1, device.data() + device.size(), number);
  return number;
}

bool is_cuda(const std::string& device) { return device.starts_with("cuda:"); }

DeviceKind kind_of(const Plan& plan, DeviceId device) {
  const auto is_on_cuda = [](const PlanDevice& each) { return is_cuda(each.name); };
  const std::string& name = plan.devices[device.index()].name;
  const bool beside = name.starts_with("host:") && std::any_of(plan.devices.begin(), plan.devices.end(), is_on_cuda);
  return beside || is_cuda(name) ? DeviceKind::cuda : DeviceKind::cpu;
}

}  // namespace troupe
