// How attention's sequence lies when an axis of the mesh splits it: in `parts`, one per device.
//
// Paired: the place of part p's rows in the sequence is that of the first half of part p, followed by that of the
// second half of part parts - 1 - p. So every part has early and late queries, and behind a causal mask all have the
// same work (each its own half, the other one from the far end). The second halves of all parts are equally long.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "runtime/base/attrs.h"
#include "runtime/base/box.h"

namespace troupe {

// The second half of each of `parts` parts of a dim of this size.
inline int64_t second_half(int64_t size, int64_t parts) { return (size / parts + 1) / 2; }

// Rows of queries that are neighbours in the sequence, and the keys that they may see, all in local rows.
struct AttentionRun {
  int64_t first_query = 0;
  int64_t queries = 0;
  int64_t first_key = 0;
  int64_t keys = 0;
  int64_t query_offset = 0;      // of the first query among these keys
  bool is_first_of_keys = true;  // no run before it has these keys
};

// What a device has of a sequence.
struct SequencePart {
  int64_t offset = 0;
  int64_t size = 0;
  int64_t logical = 0;
};

// The number of pairs of a query and a key that it sees.
double visible_pairs(const AttentionRun& run, bool causal);

namespace sequence_parts_detail {

// Neighbours in the sequence: which rows of the tensor they are, and the place of the first one.
struct Stretch {
  Part rows;
  int64_t place = 0;
};

inline Part intersect(const Part& a, const Part& b) {
  const int64_t begin = std::max(a.offset, b.offset);
  const int64_t end = std::min(a.offset + a.size, b.offset + b.size);
  return {begin, std::max<int64_t>(end - begin, 0)};
}
// The one or two of a part of the queries; the second one may be empty.
inline std::array<Stretch, 2> stretches_of(bool paired, int64_t size, int64_t parts, int64_t part) {
  const Part rows = part_of(size, parts, part);
  if (!paired) return {{{rows, rows.offset}, {{rows.offset + rows.size, 0}, 0}}};
  const Part far = part_of(size, parts, parts - 1 - part);
  const int64_t second = second_half(size, parts);
  const int64_t first = rows.size - second;
  return {{{{rows.offset, first}, rows.offset}, {{rows.offset + first, second}, far.offset + far.size - second}}};
}

}  // namespace sequence_parts_detail

// Calls visit(AttentionRun) for all of them. The attributes: `parts` (absent: 1), `paired`, and `shift` (absent: every
// query may see all keys): part p of the queries sees part p - shift of the keys, modulo the parts.
template <class Visit>
void for_each_attention_run(const Attrs& attrs, const SequencePart& queries, const SequencePart& keys, Visit visit) {
  using namespace sequence_parts_detail;
  const int64_t parts = attrs.integer("parts", 1);
  const int64_t shift = attrs.integer("shift", -1);
  const bool paired = attrs.integer("paired", 0) != 0;
  const Part here{queries.offset, queries.size};
  for (int64_t p = 0; p < parts; ++p) {
    Part seen{keys.offset, keys.size};
    if (shift >= 0) seen = intersect(seen, part_of(keys.logical, parts, (p - shift + parts) % parts));
    bool is_first = shift >= 0 || p == 0;
    for (const Stretch& stretch : stretches_of(paired, queries.logical, parts, p)) {
      const Part rows = intersect(stretch.rows, here);
      // Keys that no query sees have a gradient too: zero.
      if (rows.size > 0 || (is_first && seen.size > 0)) {
        const int64_t place = stretch.place + rows.offset - stretch.rows.offset;
        visit(AttentionRun{rows.size > 0 ? rows.offset - here.offset : 0, rows.size,
                           seen.size > 0 ? seen.offset - keys.offset : 0, seen.size, place - seen.offset, is_first});
      }
      is_first = false;
    }
  }
}

}  // namespace troupe
