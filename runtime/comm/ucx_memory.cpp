#include "runtime/comm/ucx_memory.h"

#include <iterator>

namespace troupe {

void UcxMemory::add(std::span<std::byte> memory) {
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = memory.data();
  params.length = memory.size();
  ucp_mem_h handle = nullptr;
  if (ucx_.mem_map(context_, &params, &handle) != UCS_OK) return;
  known_.insert_or_assign(memory.data(), Known{memory.size(), std::make_shared<Region>(ucx_, context_, handle)});
}

void UcxMemory::remove(std::span<std::byte> memory) { known_.erase(memory.data()); }

std::shared_ptr<const UcxMemory::Region> UcxMemory::find(std::span<const std::byte> bytes) const {
  const auto after = known_.upper_bound(bytes.data());
  if (after == known_.begin()) return nullptr;
  const auto& [begin, known] = *std::prev(after);
  const bool within = bytes.data() + bytes.size() <= begin + known.bytes;
  return within ? known.region : nullptr;
}

}  // namespace troupe
