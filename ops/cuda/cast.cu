// The same numbers in another dtype.

#include "ops/cuda/copy.h"
#include "ops/cuda/kernels.h"

namespace troupe::cuda {
namespace {

// A byte that is 0 or 1.
struct Boolean {};

template <class To, class C>
__device__ __forceinline__ auto converted(C x) {
  if constexpr (std::is_same_v<To, Boolean>) {
    return static_cast<uint8_t>(x != C(0));
  } else if constexpr (std::is_same_v<To, uint8_t>) {
    const double value = static_cast<double>(x);
    return static_cast<uint8_t>(value > 255 ? 255 : value > 0 ? value : 0);
  } else {
    return narrowed<To>(static_cast<Compute<To>>(x));
  }
}

template <class To>
using Stored = std::conditional_t<std::is_same_v<To, Boolean>, uint8_t, To>;

template <class To, class From>
__global__ void __launch_bounds__(kThreads) cast_kernel(Stored<To>* y, const From* x, int64_t n, bool in_packs) {
  constexpr int N =
      kPackBytes / static_cast<int>(sizeof(From) > sizeof(Stored<To>) ? sizeof(From) : sizeof(Stored<To>));
  const int64_t packs = in_packs ? n / N : 0;
  for (int64_t p = global_thread(); p < packs; p += global_threads()) {
    const Pack<From, N> in = load_pack<N>(x + p * N);
    Pack<Stored<To>, N> out;
#pragma unroll
    for (int j = 0; j < N; ++j) out.at[j] = converted<To>(widened(in.at[j]));
    store_pack<N>(y + p * N, out);
  }
  for (int64_t i = packs * N + global_thread(); i < n; i += global_threads()) y[i] = converted<To>(widened(x[i]));
}

template <class To, class From>
void run_cast(const TensorView& y, const TensorView& x, Stream& stream) {
  const bool packs = is_aligned(x.data, kPackBytes) && is_aligned(y.data, kPackBytes);
  launch(stream, blocks_for(x.elements(), kThreads), kThreads, 0, cast_kernel<To, From>,
         static_cast<Stored<To>*>(y.data), static_cast<const From*>(x.data), x.elements(), packs);
}

}  // namespace

void cast_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  if (x.dtype == y.dtype) return copy(y, x, stream);
  if (x.elements() == 0) return;
  with_any(x.dtype, [&](auto from) {
    using From = decltype(from);
    if (y.dtype == DType::b8) return run_cast<Boolean, From>(y, x, stream);
    with_any(y.dtype, [&](auto to) { run_cast<decltype(to), From>(y, x, stream); });
  });
}

}  // namespace troupe::cuda
