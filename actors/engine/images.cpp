#include "actors/engine/images.h"

#include <algorithm>
#include <map>
#include <utility>

#include "actors/engine/device_names.h"
#include "actors/engine/registers.h"

namespace troupe {
namespace {

// First and behind the last.
std::pair<int64_t, int64_t> bounds(const std::vector<ByteRuns>& runs) {
  std::pair<int64_t, int64_t> found{INT64_MAX, 0};
  for (const ByteRuns& run : runs) {
    if (run.total() == 0) continue;
    found.first = std::min(found.first, run.offset);
    found.second = std::max(found.second, run.offset + (run.count - 1) * run.stride + run.bytes);
  }
  return found;
}

}  // namespace

std::vector<SharedPart> shared_parts(const Crossings& crossings, int process) {
  std::map<RegisterId, std::pair<int64_t, int64_t>> found;
  for (int c = 0; c < crossings.count(); ++c) {
    const Crossing& crossing = crossings.at(c);
    if (crossing.from != process || crossing.bytes == 0) continue;
    const auto [begin, end] = bounds(crossing.runs);
    const auto [it, fresh] = found.try_emplace(crossing.reg, begin, end);
    it->second = {std::min(it->second.first, begin), std::max(it->second.second, end)};
  }
  std::vector<SharedPart> parts;
  for (const auto& [reg, range] : found) parts.push_back({reg, range.first, range.second - range.first});
  return parts;
}

std::vector<Region> reached_memory(const PlanLife& life, const Memory& memory, const Crossings& crossings, int process,
                                   const std::function<int(const std::string&)>& process_of) {
  const Plan& plan = life.plan();
  const int index = life.handle().value;
  std::vector<Region> regions;
  for (const PlanDevice& device : plan.devices) {
    if (process_of(device.name) != process) continue;
    for (const ArenaKind kind : {ArenaKind::variables, ArenaKind::workspace, ArenaKind::io}) {
      const auto bytes = static_cast<size_t>(memory.bytes(device.name, kind, index));
      if (bytes == 0 || !memory.is_on_host(device.name, kind)) continue;
      regions.push_back(whole_pages({memory.base(device.name, kind, index), bytes}));
    }
  }
  const Registers registers(memory, life);
  for (int c = 0; c < crossings.count(); ++c) {
    const Crossing& crossing = crossings.at(c);
    if ((crossing.from != process && crossing.to != process) || crossing.bytes == 0) continue;
    const auto [begin, end] = bounds(crossing.runs);
    for (size_t slot = 0; slot < plan.reg(crossing.reg).slots.size(); ++slot) {
      std::byte* const place = registers.shared_bytes(crossing.reg, slot).data();
      regions.push_back(whole_pages({place + begin, static_cast<size_t>(end - begin)}));
    }
  }
  return joined(std::move(regions));
}

}  // namespace troupe
