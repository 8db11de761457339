// Rows of array files, read by each device for itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/device/source.h"
#include "runtime/files/array_files.h"
#include "runtime/files/row_order.h"

namespace troupe {

// Everything that says which rows a batch holds, so that any process can read them.
struct ArrayRows {
  std::vector<std::string> paths;
  int32_t dtype = 0;  // what they are expected to hold
  std::vector<int64_t> row_shape;
  RowChoice choice;
};

class ArraySource final : public Source {
 public:
  // The order is that of all arrays of a data set, which have equally many rows.
  ArraySource(std::vector<std::string> paths, std::shared_ptr<const ArrayFiles> files,
              std::shared_ptr<const RowOrder> order);

  bool ready(int64_t) const override { return true; }
  void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) override;
  ArrayRows rows() const;

 private:
  std::vector<std::string> paths_;
  std::shared_ptr<const ArrayFiles> files_;
  std::shared_ptr<const RowOrder> order_;
};

// Opens the files; the order is one of `orders`, or a new one that is added to them. Throws FaultError for a file that cannot
// be read or holds other rows than those.
std::shared_ptr<ArraySource> open_array(const ArrayRows& rows, std::vector<std::shared_ptr<const RowOrder>>& orders);

}  // namespace troupe
