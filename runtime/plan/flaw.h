// The vocabulary of the checks in validate.h; of no use elsewhere.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "runtime/plan/plan.h"

namespace troupe::plan_checks {

// The first flaw ends the search.
struct Flaw {
  std::string text;
};

inline std::string number(int64_t value) { return std::to_string(value); }

// Passes when `holds`; else the flaw is "WHERE: TEXT", both made only then.
template <class Where, class Text>
void require(bool holds, const Where& where, const Text& text) {
  if (!holds) throw Flaw{where() + ": " + text()};
}

template <class Entries>
auto place_in(const char* kind, const Entries& entries, size_t index) {
  return [kind, &entries, index] {
    return std::string(kind) + " " + std::to_string(index) + " '" + entries[index].name + "'";
  };
}

template <class IdType, class Entries, class Where>
void require_id(IdType id, const Entries& entries, const Where& where, const char* what) {
  require(id.valid() && id.index() < entries.size(), where, [&] {
    return std::string(what) + " " + number(id.value) + " does not exist; there are " + std::to_string(entries.size());
  });
}

template <class Enum, class Where>
void require_enum(Enum value, Enum last, const Where& where, const char* what) {
  require(value <= last, where,
          [&] { return std::string(what) + " " + number(static_cast<int64_t>(value)) + " does not exist"; });
}

// Whether [begin, begin + size) lies in [0, end).
inline bool within(int64_t begin, int64_t size, int64_t end) {
  return begin >= 0 && size >= 0 && size <= end && begin <= end - size;
}

// Bytes of a tensor; nothing when a size is negative or the product does not fit.
inline std::optional<int64_t> bytes_of(DType dtype, const Shape& shape) {
  if (std::any_of(shape.begin(), shape.end(), [](int64_t size) { return size < 0; })) return std::nullopt;
  int64_t bytes = size_of(dtype);
  bool empty = false;
  for (int64_t size : shape) {
    empty |= size == 0;
    const int64_t factor = std::max<int64_t>(size, 1);  // so that a partial product before the zero fits as well
    if (factor > std::numeric_limits<int64_t>::max() / bytes) return std::nullopt;
    bytes *= factor;
  }
  return empty ? 0 : bytes;
}

inline bool box_within(const Dims& offset, const Dims& extent, const Shape& shape) {
  if (offset.rank() != shape.rank() || extent.rank() != shape.rank()) return false;
  for (int d = 0; d < shape.rank(); ++d) {
    if (!within(offset[d], extent[d], shape[d])) return false;
  }
  return true;
}

// Not Box::str: that adds, and here the numbers may be anything.
inline std::string box_text(const Dims& offset, const Dims& extent) {
  return "[" + extent.str() + "] at [" + offset.str() + "]";
}

// Variables, outputs and the promise; the rest of the plan has passed. Throws Flaw.
void check_tensors(const Plan& plan);
void check_promise(const Plan& plan);

}  // namespace troupe::plan_checks
