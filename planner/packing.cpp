#include "planner/packing.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/align.h"

namespace troupe {
namespace {

int64_t peak_of(const std::vector<Lifetime>& lifetimes) {
  int end = 0;
  for (const Lifetime& lifetime : lifetimes) end = std::max(end, lifetime.last + 1);
  std::vector<int64_t> change(static_cast<size_t>(end) + 1, 0);
  for (const Lifetime& lifetime : lifetimes) {
    change[static_cast<size_t>(lifetime.first)] += aligned(lifetime.bytes);
    change[static_cast<size_t>(lifetime.last) + 1] -= aligned(lifetime.bytes);
  }
  int64_t live = 0;
  int64_t peak = 0;
  for (int64_t step : change) {
    live += step;
    peak = std::max(peak, live);
  }
  return peak;
}

}  // namespace

Packing pack(const std::vector<Lifetime>& lifetimes) {
  Packing result;
  result.offsets.assign(lifetimes.size(), 0);
  result.peak = peak_of(lifetimes);
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });
  std::vector<size_t> placed;  // by offset
  for (size_t buffer : order) {
    const int64_t bytes = aligned(lifetimes[buffer].bytes);
    int64_t offset = 0;
    for (size_t other : placed) {
      if (!lifetimes[buffer].overlaps(lifetimes[other])) continue;
      if (result.offsets[other] >= offset + bytes) break;
      offset = std::max(offset, result.offsets[other] + aligned(lifetimes[other].bytes));
    }
    result.offsets[buffer] = offset;
    result.bytes = std::max(result.bytes, offset + bytes);
    if (bytes == 0) continue;
    const auto at = std::lower_bound(placed.begin(), placed.end(), offset,
                                     [&](size_t other, int64_t o) { return result.offsets[other] < o; });
    placed.insert(at, buffer);
  }
  return result;
}

}  // namespace troupe
