#include "runtime/base/box.h"

#include <algorithm>

#include "runtime/base/align.h"
#include "runtime/base/check.h"

namespace troupe {

bool Box::contains(const Box& other) const { return other.empty() || intersect(*this, other) == other; }

std::string Box::str() const {
  std::string text = "[";
  for (int d = 0; d < offset.rank(); ++d) {
    if (d > 0) text += ',';
    text += std::to_string(offset[d]) + ":" + std::to_string(offset[d] + extent[d]);
  }
  return text + "]";
}

Box intersect(const Box& a, const Box& b) {
  CHECK(a.offset.rank() == b.offset.rank(), a.str(), b.str());
  Box box = a;
  for (int d = 0; d < a.offset.rank(); ++d) {
    const int64_t low = std::max(a.offset[d], b.offset[d]);
    const int64_t high = std::min(a.offset[d] + a.extent[d], b.offset[d] + b.extent[d]);
    box.offset[d] = low;
    box.extent[d] = std::max<int64_t>(0, high - low);
  }
  return box;
}

Part part_of(int64_t size, int64_t n, int64_t index) {
  CHECK(n > 0 && index >= 0 && index < n, size, n, index);
  const int64_t base = size / n;
  const int64_t longer = size % n;
  return {index * base + std::min(index, longer), base + (index < longer ? 1 : 0)};
}

Part slice_of(int64_t elements, DType dtype, int64_t n, int64_t index) {
  const int64_t per_line = kArenaAlignment / size_of(dtype);
  const Part lines = part_of((elements + per_line - 1) / per_line, n, index);
  const int64_t begin = std::min(lines.offset * per_line, elements);
  return {begin, std::min((lines.offset + lines.size) * per_line, elements) - begin};
}

}  // namespace troupe
