#include "ops/sequence_parts.h"

#include <algorithm>

namespace troupe {
double visible_pairs(const AttentionRun& run, bool causal) {
  if (!causal) return static_cast<double>(run.queries) * static_cast<double>(run.keys);
  // Query i sees query_offset + 1 + i keys, but no fewer than none and no more than all.
  const int64_t first = run.query_offset + 1;
  const int64_t rising_from = std::clamp<int64_t>(-first, 0, run.queries);
  const int64_t rising_to = std::clamp<int64_t>(run.keys - first, rising_from, run.queries);
  return static_cast<double>(rising_to - rising_from) * static_cast<double>(2 * first + rising_from + rising_to - 1) /
             2 +
         static_cast<double>(run.queries - rising_to) * static_cast<double>(run.keys);
}

}  // namespace troupe
