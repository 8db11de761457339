// Places in memory that are told to a network or a device beforehand.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace troupe {

constexpr size_t kPage = 4096;

using Region = std::span<std::byte>;

// The whole pages in which a place lies.
Region whole_pages(Region place);
// Those that overlap or touch become one; in the order of their addresses.
std::vector<Region> joined(std::vector<Region> regions);

}  // namespace troupe
