#include "actors/engine/parts.h"

#include <cstring>

#include "runtime/base/check.h"

namespace troupe {
namespace {

// `copy(byte in the whole, byte in the part, bytes)` for each contiguous run of the box: the innermost dims that it
// covers whole, and one more.
template <class Copy>
void each_run(const Shape& shape, DType dtype, const Box& box, Copy&& copy) {
  if (box.empty()) return;
  int inner = shape.rank();
  int64_t run = 1;
  while (inner > 0) {
    --inner;
    run *= box.extent[inner];
    if (box.extent[inner] != shape[inner]) break;
  }
  const Dims strides = strides_of(shape);
  const int64_t bytes = run * size_of(dtype);
  Dims index = Dims::filled(inner, 0);
  for (int64_t in_part = 0;; in_part += bytes) {
    int64_t at = 0;
    for (int d = 0; d < shape.rank(); ++d) at += (box.offset[d] + (d < inner ? index[d] : 0)) * strides[d];
    copy(at * size_of(dtype), in_part, bytes);
    int d = inner - 1;
    while (d >= 0 && ++index[d] == box.extent[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

void check_sizes(size_t whole, const Shape& shape, DType dtype, const Box& box, size_t part) {
  CHECK(whole == static_cast<size_t>(shape.elements() * size_of(dtype)), whole, shape.str());
  CHECK(part >= static_cast<size_t>(box.elements() * size_of(dtype)), part, box.str());
  CHECK(Box::whole(shape).contains(box) || box.empty(), box.str(), shape.str());
}

}  // namespace

void put_part(std::span<std::byte> whole, const Shape& shape, DType dtype, const Box& box,
              std::span<const std::byte> part) {
  check_sizes(whole.size(), shape, dtype, box, part.size());
  each_run(shape, dtype, box, [&](int64_t in_whole, int64_t in_part, int64_t bytes) {
    std::memcpy(whole.data() + in_whole, part.data() + in_part, static_cast<size_t>(bytes));
  });
}

void take_part(std::span<const std::byte> whole, const Shape& shape, DType dtype, const Box& box,
               std::span<std::byte> part) {
  check_sizes(whole.size(), shape, dtype, box, part.size());
  each_run(shape, dtype, box, [&](int64_t in_whole, int64_t in_part, int64_t bytes) {
    std::memcpy(part.data() + in_part, whole.data() + in_whole, static_cast<size_t>(bytes));
  });
}

}  // namespace troupe
