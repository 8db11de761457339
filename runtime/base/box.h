// A box: a rectangular region of a logical tensor.
#pragma once

#include <string>

#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"

namespace troupe {

struct Box {
  Dims offset;
  Dims extent;

  static Box whole(const Shape& shape) { return {Dims::filled(shape.rank(), 0), shape}; }
  int64_t elements() const { return extent.elements(); }
  bool empty() const { return elements() == 0; }
  bool contains(const Box& other) const;
  bool operator==(const Box&) const = default;
  // "[0:4,8:16]": first and past-the-last index per dim.
  std::string str() const;
};

// The common region; a box with a zero extent where the two do not meet.
Box intersect(const Box& a, const Box& b);

// One part of a dim that is cut into n balanced parts: the first `size mod n` parts are one longer, a part may be
// empty. This is the only place that knows how a dim is cut.
struct Part {
  int64_t offset;
  int64_t size;
  bool operator==(const Part&) const = default;
};
Part part_of(int64_t size, int64_t n, int64_t index);

// The same for the elements of a buffer, cut between cache lines alone: so a part may be a register of its own where the whole
// is one.
Part slice_of(int64_t elements, DType dtype, int64_t n, int64_t index);

}  // namespace troupe
