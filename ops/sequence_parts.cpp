#include "ops/sequence_parts.h"

#include <algorithm>

namespace troupe {
namespace sequence_parts_detail {

Part intersect(const Part& a, const Part& b) {
  const int64_t begin = std::max(a.offset, b.offset);
  const int64_t end = std::min(a.offset + a.size, b.offset + b.size);
  return {begin, std::max<int64_t>(end - begin, 0)};
}

std::array<Stretch, 2> stretches_of(bool paired, int64_t size, int64_t parts, int64_t part) {
  const Part rows = part_of(size, parts, part);
  if (!paired) return {{{rows, rows.offset}, {{rows.offset + rows.size, 0}, 0}}};
  const Part far = part_of(size, parts, parts - 1 - part);
  const int64_t second = second_half(size, parts);
  const int64_t first = rows.size - second;
  return {{{{rows.offset, first}, rows.offset}, {{rows.offset + first, second}, far.offset + far.size - second}}};
}

}  // namespace sequence_parts_detail

int64_t second_half(int64_t size, int64_t parts) { return (size / parts + 1) / 2; }

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
