#include "runtime/plan/kept_bytes.h"

#include <algorithm>

namespace troupe {

KeptBytes::KeptBytes(const Plan& plan) : kept_(plan.registers.size(), false), ranges_(plan.devices.size()) {
  for (const PlanTask& task : plan.tasks) {
    for (const PlanRead& read : task.inputs) {
      const PlanRegister& reg = plan.reg(read.reg);
      if (reg.is_control() || reg.arena != ArenaKind::workspace || !reg.producer.valid()) continue;
      if (plan.task(reg.producer).stream != task.stream) kept_[read.reg.index()] = true;
    }
  }
  for (size_t r = 0; r < kept_.size(); ++r) {
    if (!kept_[r]) continue;
    const PlanRegister& reg = plan.registers[r];
    for (int64_t offset : reg.slots) ranges_[reg.device.index()].push_back({offset, offset + reg.bytes});
  }
  for (std::vector<Range>& ranges : ranges_) {
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    std::vector<Range> joined;
    for (const Range& range : ranges) {
      if (joined.empty() || range.begin > joined.back().end) {
        joined.push_back(range);
      } else {
        joined.back().end = std::max(joined.back().end, range.end);
      }
    }
    ranges = std::move(joined);
  }
}

int64_t KeptBytes::of(DeviceId device) const {
  int64_t bytes = 0;
  for (const Range& range : ranges_[device.index()]) bytes += range.end - range.begin;
  return bytes;
}

int64_t KeptBytes::others(DeviceId device, int64_t offset, int64_t bytes) const {
  const int64_t end = offset + bytes;
  const std::vector<Range>& ranges = ranges_[device.index()];
  auto range = std::upper_bound(ranges.begin(), ranges.end(), offset,
                                [](int64_t at, const Range& other) { return at < other.end; });
  for (; range != ranges.end() && range->begin < end; ++range) {
    bytes -= std::min(end, range->end) - std::max(offset, range->begin);
  }
  return bytes;
}

}  // namespace troupe
