#include "actors/engine/regions.h"

#include <algorithm>
#include <cstdint>

namespace troupe {

Region whole_pages(Region place) {
  const size_t before = reinterpret_cast<uintptr_t>(place.data()) % kPage;
  const size_t pages = (before + place.size() + kPage - 1) / kPage;
  return {place.data() - before, pages * kPage};
}

std::vector<Region> joined(std::vector<Region> regions) {
  std::sort(regions.begin(), regions.end(), [](Region a, Region b) { return a.data() < b.data(); });
  std::vector<Region> all;
  for (const Region region : regions) {
    if (all.empty() || region.data() > all.back().data() + all.back().size()) {
      all.push_back(region);
    } else {
      std::byte* const begin = all.back().data();
      all.back() = Region(begin, std::max(begin + all.back().size(), region.data() + region.size()));
    }
  }
  return all;
}

}  // namespace troupe
