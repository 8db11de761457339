// Arrays in files of NumPy's .npy format, read row by row where rows are needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"
#include "runtime/files/open_files.h"

namespace troupe {

// Several files as one array, their rows (the places of dim 0) in the order given. Moved only; reads are thread-safe.
class ArrayFiles {
 public:
  // Reads the headers alone. Throws FaultError for a file that cannot be read, PlanError for an empty list of files.
  static ArrayFiles open(const std::vector<std::string>& paths);

  DType dtype() const { return dtype_; }
  const Shape& row_shape() const { return row_shape_; }
  int64_t row_bytes() const { return row_bytes_; }
  int64_t rows() const { return rows_; }
  // Bytes from this one of a row on, over the rows that follow it too. Throws FaultError for a file that has become shorter.
  void read(int64_t row, int64_t byte, std::span<std::byte> into) const;

 private:
  struct Part {
    int64_t data;   // where its elements begin
    int64_t begin;  // its first row
    int64_t rows;
  };

  std::unique_ptr<OpenFiles> files_;
  std::vector<Part> parts_;  // by file
  DType dtype_ = DType::f32;
  Shape row_shape_;
  int64_t row_bytes_ = 0;
  int64_t rows_ = 0;
};

}  // namespace troupe
