// Kernels of ops that compute each element from the elements at the same place, over the functions of ops/cpu.
#pragma once

#include "ops/dispatch.h"
#include "runtime/device/kernel.h"

namespace troupe {

// y = f(x).
template <auto f32, auto f64>
void unary_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  if (x.dtype == DType::f32) {
    f32(y.as<float>(), x.as<float>(), y.elements());
  } else {
    f64(y.as<double>(), x.as<double>(), y.elements());
  }
}

// dx = derivative(dy, saved), for an op (saved, dy) -> dx.
template <auto f32, auto f64>
void derivative_cpu(const KernelArgs& args, Stream&) {
  const TensorView& saved = args.inputs[0];
  const TensorView& dy = args.inputs[1];
  const TensorView& dx = args.outputs[0];
  if (dx.dtype == DType::f32) {
    f32(dx.as<float>(), dy.as<float>(), saved.as<float>(), dx.elements());
  } else {
    f64(dx.as<double>(), dy.as<double>(), saved.as<double>(), dx.elements());
  }
}

}  // namespace troupe
