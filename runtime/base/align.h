// Alignment of tensors in memory.
#pragma once

#include <cstdint>

namespace troupe {

constexpr int64_t kArenaAlignment = 64;  // bytes; every slot starts at a multiple: a cache line, an AVX-512 vector

constexpr int64_t aligned(int64_t bytes) { return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment; }

}  // namespace troupe
