#include "ops/along.h"

#include "ops/cpu/movement.h"

namespace troupe {

Shape with_size(const Shape& shape, int dim, int64_t size) {
  Shape result = shape;
  result[dim] = size;
  return result;
}

void copy_along(const TensorView& to, int64_t to_start, const TensorView& from, int64_t from_start, int dim,
                int64_t size) {
  const int rank = to.shape.rank();
  Dims to_offset = Dims::filled(rank, 0);
  Dims from_offset = Dims::filled(rank, 0);
  to_offset[dim] = to_start;
  from_offset[dim] = from_start;
  const Shape extent = with_size(to.shape, dim, size);
  cpu::copy_box(to.data, to.shape.begin(), to_offset.begin(), from.data, from.shape.begin(), from_offset.begin(),
                extent.begin(), rank, size_of(to.dtype));
}

}  // namespace troupe
