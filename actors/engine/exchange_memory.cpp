// Which memory the network is told of beforehand.

#include <utility>

#include "actors/engine/exchange.h"
#include "actors/engine/regions.h"
#include "actors/engine/registers.h"

namespace troupe {

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
        const Pieces pieces = pieces_of(crossing.runs, registers.shared_bytes(crossing.reg, slot).data());
        if (pieces.size() != 1 || pieces.front().size() < kPage) continue;  // less is copied on its way in any case
        regions.push_back(whole_pages(pieces.front()));
      }
    }
  }
  return regions;
}

}  // namespace troupe
