// The head of a file of NumPy's .npy format, which says what the bytes behind it are.
//
//   6 bytes   \x93NUMPY
//   2 bytes   version: 1.0, 2.0 or 3.0
//   2 bytes   size of the header, little-endian; 4 bytes from version 2.0 on
//   header    {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }, padded with spaces
//   data      the elements
#pragma once

#include <cstdint>

#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"
#include "runtime/files/file.h"

namespace troupe {

struct NpyHeader {
  DType dtype = DType::f32;
  Shape shape;       // at least one dim
  int64_t data = 0;  // where the elements begin
};

// Of a file that holds all its elements, row-major and little-endian, of a type that tensors have. Any other is a FaultError
// that says how to write it. What lies behind the elements is left alone, as by NumPy.
NpyHeader read_npy_header(const OpenFile& file);

}  // namespace troupe
