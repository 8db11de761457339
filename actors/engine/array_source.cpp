#include "actors/engine/array_source.h"

#include <algorithm>
#include <utility>

#include "actors/engine/parts.h"
#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

// The dims of a row, of a view of rows.
Dims of_row(const Dims& dims) {
  Dims row = dims;
  row.erase(0);
  return row;
}

// Whether the box of a row's elements lies in one piece: up to one dim each dim is a single place, after it all are whole.
bool is_one_run(const Box& box, const Shape& row) {
  int d = 0;
  while (d < row.rank() && box.extent[d] == 1) ++d;
  for (++d; d < row.rank(); ++d) {
    if (box.extent[d] != row[d]) return false;
  }
  return true;
}

int64_t first_element(const Box& box, const Shape& row) {
  const Dims strides = strides_of(row);
  int64_t first = 0;
  for (int d = 0; d < row.rank(); ++d) first += box.offset[d] * strides[d];
  return first;
}

}  // namespace

ArraySource::ArraySource(std::vector<std::string> paths, std::shared_ptr<const ArrayFiles> files,
                         std::shared_ptr<const RowOrder> order)
    : paths_(std::move(paths)), files_(std::move(files)), order_(std::move(order)) {
  CHECK(files_->rows() == order_->choice().rows, files_->rows(), order_->choice().rows);
}

ArrayRows ArraySource::rows() const {
  return {paths_, static_cast<int32_t>(files_->dtype()), files_->row_shape().vector(), order_->choice()};
}

void ArraySource::read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) {
  const Shape& row = files_->row_shape();
  CHECK(out.dtype == files_->dtype() && of_row(out.logical) == row, type_text(out.dtype, out.logical), row.str());
  if (out.elements() == 0) return;
  const Box box{of_row(out.offset), of_row(out.shape)};
  const bool whole = box == Box::whole(row), one_run = is_one_run(box, row);
  const auto bytes = static_cast<size_t>(box.elements() * size_of(out.dtype));
  const std::span<std::byte> all{out.as<std::byte>(), static_cast<size_t>(out.bytes())};
  std::vector<std::byte> scratch(one_run ? 0 : static_cast<size_t>(files_->row_bytes()));

  const int64_t piece = static_cast<int64_t>(firing.shard) * pieces_per_shard + firing.piece;
  const int64_t first = piece * out.logical[0] + out.offset[0];
  const RowOrder::Batch batch = order_->at(firing.step);
  try {
    for (int64_t i = 0, n = 1; i < out.shape[0]; i += n, n = 1) {
      const int64_t at = batch.row(first + i);
      // Rows that follow one another are read at once.
      while (whole && i + n < out.shape[0] && batch.row(first + i + n) == at + n) ++n;
      const std::span<std::byte> into = all.subspan(static_cast<size_t>(i) * bytes, static_cast<size_t>(n) * bytes);
      if (one_run) {
        files_->read(at, first_element(box, row) * size_of(out.dtype), into);
      } else {
        files_->read(at, 0, scratch);
        take_part(scratch, row, out.dtype, box, into);
      }
    }
  } catch (const FaultError& error) {
    *failure = error.fault().what;
  }
}

std::shared_ptr<ArraySource> open_array(const ArrayRows& rows, std::vector<std::shared_ptr<const RowOrder>>& orders) {
  auto files = std::make_shared<const ArrayFiles>(ArrayFiles::open(rows.paths));
  const auto dtype = static_cast<DType>(rows.dtype);
  const Shape row(rows.row_shape);
  if (files->dtype() != dtype || files->row_shape() != row || files->rows() != rows.choice.rows) {
    Fault fault;
    fault.what = "'" + rows.paths.front() + "' " + (rows.paths.size() > 1 ? "and what belongs to it have " : "has ") +
                 std::to_string(files->rows()) + " rows of " + type_text(files->dtype(), files->row_shape()) +
                 " here; the driver found " + std::to_string(rows.choice.rows) + " of " + type_text(dtype, row);
    throw FaultError(std::move(fault));
  }
  const auto known =
      std::find_if(orders.begin(), orders.end(), [&](const auto& order) { return order->choice() == rows.choice; });
  if (known != orders.end()) return std::make_shared<ArraySource>(rows.paths, std::move(files), *known);
  orders.push_back(std::make_shared<const RowOrder>(rows.choice));
  return std::make_shared<ArraySource>(rows.paths, std::move(files), orders.back());
}

}  // namespace troupe
