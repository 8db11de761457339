// Kernels that compute elements from those at the same place of operands of one shape and dtype.
#pragma once

#include "ops/cuda/launch.h"
#include "ops/cuda/packs.h"

namespace troupe::cuda {

template <class T, int kIn, int kOut>
struct MapOperands {
  const T* in[kIn];
  T* out[kOut];
  int64_t n;
  bool packs;  // all are aligned so
};

// f(in, out) reads kIn numbers and writes kOut of them, of the type that T is computed with. An output may have the memory
// of an input: what a thread writes it has read.
template <class T, int kIn, int kOut, class F>
__global__ void __launch_bounds__(kThreads) map_kernel(MapOperands<T, kIn, kOut> operands, F f) {
  using C = Compute<T>;
  constexpr int N = kPack<T>;
  const int64_t packs = operands.packs ? operands.n / N : 0;
  for (int64_t p = global_thread(); p < packs; p += global_threads()) {
    Pack<T, N> in[kIn];
    Pack<T, N> out[kOut];
#pragma unroll
    for (int k = 0; k < kIn; ++k) in[k] = load_pack<N>(operands.in[k] + p * N);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      C a[kIn];
      C b[kOut];
#pragma unroll
      for (int k = 0; k < kIn; ++k) a[k] = widened(in[k].at[j]);
      f(a, b);
#pragma unroll
      for (int k = 0; k < kOut; ++k) out[k].at[j] = narrowed<T>(b[k]);
    }
#pragma unroll
    for (int k = 0; k < kOut; ++k) store_pack<N>(operands.out[k] + p * N, out[k]);
  }
  for (int64_t i = packs * N + global_thread(); i < operands.n; i += global_threads()) {
    C a[kIn];
    C b[kOut];
#pragma unroll
    for (int k = 0; k < kIn; ++k) a[k] = widened(operands.in[k][i]);
    f(a, b);
#pragma unroll
    for (int k = 0; k < kOut; ++k) operands.out[k][i] = narrowed<T>(b[k]);
  }
}

template <class T, int kIn, int kOut>
MapOperands<T, kIn, kOut> map_operands(const TensorView* const (&in)[kIn], const TensorView* const (&out)[kOut]) {
  MapOperands<T, kIn, kOut> operands = {};
  operands.n = out[0]->elements();
  operands.packs = true;
  for (int k = 0; k < kIn; ++k) {
    operands.in[k] = static_cast<const T*>(in[k]->data);
    operands.packs = operands.packs && is_aligned(in[k]->data, kPackBytes);
  }
  for (int k = 0; k < kOut; ++k) {
    operands.out[k] = static_cast<T*>(out[k]->data);
    operands.packs = operands.packs && is_aligned(out[k]->data, kPackBytes);
  }
  return operands;
}

template <class T, int kIn, int kOut, class F>
void map(Stream& stream, const TensorView* const (&in)[kIn], const TensorView* const (&out)[kOut], F f) {
  const MapOperands<T, kIn, kOut> operands = map_operands<T>(in, out);
  if (operands.n == 0) return;
  launch(stream, blocks_for(operands.n, kThreads * kPack<T>), kThreads, 0, map_kernel<T, kIn, kOut, F>, operands, f);
}

// All inputs and outputs of an op of one float dtype.
template <int kIn, int kOut, class F>
void map_floats(const KernelArgs& args, Stream& stream, F f) {
  const TensorView* in[kIn];
  const TensorView* out[kOut];
  for (int k = 0; k < kIn; ++k) in[k] = &args.inputs[static_cast<size_t>(k)];
  for (int k = 0; k < kOut; ++k) out[k] = &args.outputs[static_cast<size_t>(k)];
  with_any_float(out[0]->dtype, [&](auto zero) { map<decltype(zero), kIn, kOut>(stream, in, out, f); });
}

}  // namespace troupe::cuda
