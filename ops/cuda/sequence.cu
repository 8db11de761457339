// What goes before and after attention: rotary positions, and the attention over two sets of keys as one.

#include "ops/cuda/kernels.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

// Places of [outer, seq, inner, 2 half]; those of seq begin at `first`.
struct Rotation {
  int64_t pairs, seq, inner, half, first;
  double theta;
  bool inverse;
};

// One pair per thread. Angles are made in float64, of which float32 would keep too little far along a sequence; both
// numbers of a pair are read before either is written.
template <class T>
__global__ void __launch_bounds__(kThreads) rope_kernel(T* y, const T* x, Rotation r) {
  using C = Compute<T>;
  for (int64_t p = global_thread(); p < r.pairs; p += global_threads()) {
    const int64_t row = quotient(p, r.half);
    const int64_t j = p - row * r.half;
    const int64_t place = r.first + quotient(row, r.inner) % r.seq;
    const double frequency = pow(r.theta, -static_cast<double>(j) / static_cast<double>(r.half));
    const double angle = static_cast<double>(place) * frequency;
    const C cosine = static_cast<C>(cos(angle));
    const C sine = static_cast<C>(r.inverse ? -sin(angle) : sin(angle));
    const int64_t at = row * 2 * r.half + j;
    const C a = widened(x[at]);
    const C b = widened(x[at + r.half]);
    y[at] = narrowed<T>(a * cosine - b * sine);
    y[at + r.half] = narrowed<T>(b * cosine + a * sine);
  }
}

template <class T>
struct Merge {
  T* out;
  T* lse;
  const T* a;
  const T* a_lse;
  const T* b;
  const T* b_lse;
  int64_t heads, queries, batch_step, head_step, row_step;
  bool packs;

  // A row of lse is one of out, which may lie elsewhere.
  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const int64_t at =
        row / queries / heads * batch_step + row / queries % heads * head_step + row % queries * row_step;
    const C left = widened(a_lse[row]);
    const C right = widened(b_lse[row]);
    // NaN on either side goes through, as it does in the softmax of all keys.
    const C most = larger(left, right);
    const bool no_keys = most == -infinity<C>();
    const C of_a = no_keys ? C(0) : exp(left - most);
    const C of_b = no_keys ? C(0) : exp(right - most);
    const C sum = no_keys ? C(1) : of_a + of_b;
    const Row<T, kSize, 0> values(a + at, n, packs);
    values.each([&](int64_t first, int64_t count, const Values<C, N>& v) {
      const Values<C, N> w = load_values<N>(b + at + first, count, packs);
      Values<C, N> merged;
#pragma unroll
      for (int j = 0; j < N; ++j) merged.at[j] = v.at[j] * (of_a / sum) + w.at[j] * (of_b / sum);
      store_values<N>(out + at + first, count, packs, merged);
    });
    __syncwarp();  // all lanes have read the lse, in whose memory the new one may lie
    if (Group<kSize>().lane() == 0) lse[row] = no_keys ? most : most + log(sum);
  }
};

}  // namespace

void rope_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const int seq = static_cast<int>(args.attrs->integer("seq_dim", 2));
  Rotation r{x.elements() / 2,
             x.shape[seq],
             1,
             x.shape.back() / 2,
             x.offset[seq],
             args.attrs->number("theta"),
             args.attrs->integer("inverse", 0) != 0};
  for (int d = seq + 1; d < x.shape.rank() - 1; ++d) r.inner *= x.shape[d];
  if (r.pairs == 0) return;
  with_any_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(r.pairs, kThreads), kThreads, 0, rope_kernel<T>, args.outputs[0].as<T>(), x.as<T>(), r);
  });
}

void merge_attention_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& out = args.outputs[0];
  const int seq = static_cast<int>(args.attrs->integer("seq_dim", 2));
  const int head = 3 - seq;
  const Dims strides = strides_of(out.shape);
  const int64_t n = out.shape[3];
  CHECK(n <= kWarpSize * kHeldElements, n);  // so that a warp has a row
  with_float(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* a = args.inputs[0].as<T>();
    const T* b = args.inputs[2].as<T>();
    for_rows<T>(stream, args.outputs[1].elements(), n,
                Merge<T>{out.as<T>(), args.outputs[1].as<T>(), a, args.inputs[1].as<T>(), b, args.inputs[3].as<T>(),
                         out.shape[head], out.shape[seq], strides[0], strides[head], strides[seq],
                         rows_take_packs<T>(n, out.as<T>(), a, b)});
  });
}

}  // namespace troupe::cuda
