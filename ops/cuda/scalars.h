// Scalars that lie on the device: kernels read them where the host cannot.
#pragma once

#include "ops/cuda/device.h"
#include "runtime/base/check.h"
#include "runtime/device/kernel.h"

namespace troupe::cuda {

// A float32 or float64 scalar.
class Scalar {
 public:
  Scalar() = default;
  explicit Scalar(const TensorView& view) : data_(view.data), is_double_(view.dtype == DType::f64) {
    CHECK(view.dtype == DType::f32 || view.dtype == DType::f64, name_of(view.dtype));
  }
  __device__ double read() const {
    return is_double_ ? *static_cast<const double*>(data_) : static_cast<double>(*static_cast<const float*>(data_));
  }

 private:
  const void* data_ = nullptr;
  bool is_double_ = false;
};

// One to write.
class ScalarOut {
 public:
  ScalarOut() = default;
  explicit ScalarOut(const TensorView& view) : data_(view.data), is_double_(view.dtype == DType::f64) {
    CHECK(view.dtype == DType::f32 || view.dtype == DType::f64, name_of(view.dtype));
  }
  __device__ bool is_double() const { return is_double_; }
  __device__ void write(double value) const {
    if (is_double_) {
      *static_cast<double*>(data_) = value;
    } else {
      *static_cast<float*>(data_) = static_cast<float>(value);
    }
  }

 private:
  void* data_ = nullptr;
  bool is_double_ = false;
};

}  // namespace troupe::cuda
