#include "tests/walk/untouched.h"

#include <algorithm>
#include <map>
#include <utility>

namespace troupe {
namespace {

constexpr std::byte kPattern{0xa5};

}  // namespace

Untouched::Untouched(Engine& engine, PlanHandle handle) {
  const Plan& plan = engine.plan(handle);
  using Place = std::pair<DeviceId, ArenaKind>;
  std::map<Place, std::byte*> bases;
  std::map<Place, std::vector<std::pair<int64_t, int64_t>>> given;
  for (size_t r = 0; r < plan.registers.size(); ++r) {
    const PlanRegister& reg = plan.registers[r];
    if (reg.is_control() || reg.arena == ArenaKind::variables || reg.bytes == 0) continue;
    const Place place{reg.device, reg.arena};
    for (size_t slot = 0; slot < reg.slots.size(); ++slot) {
      given[place].emplace_back(reg.slots[slot], reg.slots[slot] + reg.bytes);
    }
    bases[place] = engine.bytes(handle, RegisterId(static_cast<int64_t>(r)), 0).data() - reg.slots[0];
  }
  for (const PlanTask& task : plan.tasks) {
    if (task.scratch_bytes == 0) continue;
    given[{task.device, ArenaKind::workspace}].emplace_back(task.scratch_offset,
                                                            task.scratch_offset + task.scratch_bytes);
  }
  for (auto& [place, ranges] : given) {
    const PlanDevice& device = plan.devices[place.first.index()];
    const auto base = bases.find(place);
    if (base == bases.end()) continue;
    std::sort(ranges.begin(), ranges.end());
    ranges.emplace_back(device.arena_bytes[static_cast<int>(place.second)], 0);
    int64_t end = 0;
    for (const auto& [begin, next] : ranges) {
      if (begin > end) {
        gaps_.push_back({device.name + " arena " + std::to_string(static_cast<int>(place.second)) + " at byte " +
                             std::to_string(end),
                         {base->second + end, static_cast<size_t>(begin - end)}});
      }
      end = std::max(end, next);
    }
  }
  for (const Gap& gap : gaps_) std::fill(gap.bytes.begin(), gap.bytes.end(), kPattern);
}

int64_t Untouched::bytes() const {
  int64_t bytes = 0;
  for (const Gap& gap : gaps_) bytes += static_cast<int64_t>(gap.bytes.size());
  return bytes;
}

std::string Untouched::flaw() const {
  for (const Gap& gap : gaps_) {
    const auto it = std::find_if(gap.bytes.begin(), gap.bytes.end(), [](std::byte b) { return b != kPattern; });
    if (it != gap.bytes.end()) return gap.place + " + " + std::to_string(it - gap.bytes.begin());
  }
  return "";
}

}  // namespace troupe
