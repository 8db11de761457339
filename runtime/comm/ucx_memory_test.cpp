#include "runtime/comm/ucx_memory.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace troupe {
namespace {

// What is mapped: the handles are the addresses.
std::set<void*> mapped;
bool refuses = false;

UcxLibrary counting() {
  UcxLibrary ucx{};
  ucx.mem_map = [](ucp_context_h, const ucp_mem_map_params_t* params, ucp_mem_h* handle) {
    if (refuses) return UCS_ERR_IO_ERROR;
    EXPECT_TRUE(mapped.insert(params->address).second);
    *handle = static_cast<ucp_mem_h>(params->address);
    return UCS_OK;
  };
  ucx.mem_unmap = [](ucp_context_h, ucp_mem_h handle) {
    EXPECT_EQ(mapped.erase(handle), 1u);
    return UCS_OK;
  };
  return ucx;
}

TEST(UcxMemory, FindsWhatLiesWholeInOneRegion) {
  const UcxLibrary ucx = counting();
  std::vector<std::byte> bytes(100);
  const std::span all(bytes);
  {
    UcxMemory memory(ucx, nullptr);
    EXPECT_EQ(memory.find(all), nullptr);
    memory.add(all.subspan(10, 20));
    memory.add(all.subspan(30, 20));
    const auto first = [&](size_t offset, size_t size) {
      const auto region = memory.find(all.subspan(offset, size));
      return region == nullptr ? nullptr : static_cast<void*>(region->handle());
    };
    EXPECT_EQ(first(10, 20), &bytes[10]);
    EXPECT_EQ(first(29, 1), &bytes[10]);
    EXPECT_EQ(first(30, 20), &bytes[30]);
    EXPECT_EQ(first(9, 2), nullptr);
    EXPECT_EQ(first(29, 2), nullptr);
    EXPECT_EQ(first(49, 2), nullptr);
    EXPECT_EQ(first(60, 2), nullptr);
    memory.remove(all.subspan(10, 20));
    EXPECT_EQ(first(10, 20), nullptr);
    EXPECT_EQ(mapped.size(), 1u);
  }
  EXPECT_TRUE(mapped.empty());
}

TEST(UcxMemory, ATransferUnderWayKeepsItsRegion) {
  const UcxLibrary ucx = counting();
  std::vector<std::byte> bytes(100);
  UcxMemory memory(ucx, nullptr);
  memory.add(bytes);
  auto held = memory.find(bytes);
  memory.remove(bytes);
  EXPECT_EQ(mapped.size(), 1u);
  held.reset();
  EXPECT_TRUE(mapped.empty());
}

TEST(UcxMemory, DoesWithoutWhatIsRefused) {
  const UcxLibrary ucx = counting();
  std::vector<std::byte> bytes(100);
  UcxMemory memory(ucx, nullptr);
  refuses = true;
  memory.add(bytes);
  refuses = false;
  EXPECT_EQ(memory.find(bytes), nullptr);
  memory.remove(bytes);
}

}  // namespace
}  // namespace troupe
