// Which memory the network is told of beforehand.

#include <algorithm>
#include <utility>

#include "actors/engine/exchange.h"
#include "actors/engine/registers.h"

namespace troupe {
namespace {

constexpr size_t kPage = 4096;  // less than this is copied on its way in any case

using Region = std::span<std::byte>;

// Those that overlap or touch become one.
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

}  // namespace

Exchange::MemoryChange::MemoryChange(Exchange* exchange) : exchange_(exchange) {
  if (exchange_ == nullptr) return;
  for (const Region region : std::exchange(exchange_->registered_, {})) exchange_->network_->unregister_memory(region);
}

Exchange::MemoryChange::~MemoryChange() {
  if (exchange_ == nullptr) return;
  exchange_->registered_ = joined(exchange_->crossing_memory());
  for (const Region region : exchange_->registered_) exchange_->network_->register_memory(region);
}

// The places of crossings that are one piece, in whole pages: no more of a far arena than its transfers fill in any case.
std::vector<Region> Exchange::crossing_memory() const {
  std::vector<Region> regions;
  for (const auto& [handle, loaded] : plans_) {
    for (int c = 0; c < loaded.crossings.count(); ++c) {
      const Crossing& crossing = loaded.crossings.at(c);
      const bool is_here = crossing.from == options_.self || crossing.to == options_.self;
      if (!is_here || !is_far_process(crossing.from == options_.self ? crossing.to : crossing.from)) continue;
      const size_t slots = loaded.life->plan().reg(crossing.reg).slots.size();
      for (size_t slot = 0; slot < slots; ++slot) {
        const Registers registers(*loaded.memory, *loaded.life);
        const Pieces pieces = pieces_of(crossing.runs, registers.bytes(crossing.reg, slot).data());
        if (pieces.size() != 1 || pieces.front().size() < kPage) continue;
        std::byte* const begin = pieces.front().data();
        const size_t before = reinterpret_cast<uintptr_t>(begin) % kPage;
        const size_t pages = (before + pieces.front().size() + kPage - 1) / kPage;
        regions.emplace_back(begin - before, pages * kPage);
      }
    }
  }
  return regions;
}

}  // namespace troupe
