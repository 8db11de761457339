// Ops that are matrix products.

#include "ops/cuda/copy.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

Gemm product_of(const TensorView& a, const TensorView& b, const TensorView& c) {
  Gemm g;
  g.dtype = a.dtype;
  g.out_dtype = c.dtype;
  g.a = a.data;
  g.b = b.data;
  g.c = c.data;
  g.lda = a.shape.back();
  g.ldb = b.shape.back();
  g.ldc = c.shape.back();
  return g;
}

// y = x over the square root of its sum of squares, at least eps: by one block.
constexpr int kWideBlock = 1024;

template <class T>
__global__ void __launch_bounds__(kWideBlock) unit_norm_kernel(T* y, const T* x, int64_t n, double eps) {
  T squares = 0;
  for (int64_t i = threadIdx.x; i < n; i += kWideBlock) squares += x[i] * x[i];
  const T norm = sqrt(Group<kWideBlock>().sum(squares));
  const T factor = T(1) / (norm < static_cast<T>(eps) ? static_cast<T>(eps) : norm);
  for (int64_t i = threadIdx.x; i < n; i += kWideBlock) y[i] = x[i] * factor;
}

// The buffers of experts x[e, b, c, in]; counts[e, b] where given.
GemmRows rows_of(const KernelArgs& args, GemmRows::Of of) {
  if (args.inputs.size() < 3) return {};
  const TensorView& x = args.inputs[0];
  return {of, args.inputs[2].as<int32_t>(), x.shape[2], x.offset[2]};
}

}  // namespace

void matmul_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& a = args.inputs[0];
  const TensorView& b = args.inputs[1];
  Gemm g = product_of(a, b, args.outputs[0]);
  g.trans_a = args.attrs->integer("trans_a", 0) != 0;
  g.trans_b = args.attrs->integer("trans_b", 0) != 0;
  const int rank = a.shape.rank();
  for (int d = 0; d < rank - 2; ++d) g.batch *= a.shape[d];
  g.m = a.shape[g.trans_a ? rank - 1 : rank - 2];
  g.k = a.shape[g.trans_a ? rank - 2 : rank - 1];
  g.n = args.outputs[0].shape.back();
  if (b.shape.rank() == 2 && !g.trans_a) {  // the batch is only more rows
    g.m *= g.batch;
    g.batch = 1;
  }
  g.stride_a = g.m * g.k;
  g.stride_b = b.shape.rank() == 2 ? 0 : g.k * g.n;
  g.stride_c = g.m * g.n;
  gemm(g, stream);
}

void linear_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& w = args.inputs[1];
  Gemm g = product_of(args.inputs[0], w, args.outputs[0]);
  g.trans_b = true;
  g.m = row_count(args.inputs[0].shape);
  g.n = w.shape[0];
  g.k = w.shape[1];
  if (args.inputs.size() > 2) g.bias = args.inputs[2].data;
  gemm(g, stream);
}

void linear_input_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& w = args.inputs[1];
  Gemm g = product_of(args.inputs[0], w, args.outputs[0]);
  g.m = row_count(args.inputs[0].shape);
  g.n = w.shape[1];
  g.k = w.shape[0];
  gemm(g, stream);
}

void linear_weight_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const TensorView& dy = args.inputs[1];
  Gemm g = product_of(dy, x, args.outputs[0]);
  g.trans_a = true;
  g.m = dy.shape.back();
  g.n = x.shape.back();
  g.k = row_count(x.shape);
  gemm(g, stream);
}

void expert_linear_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  Gemm g = product_of(x, args.inputs[1], y);
  g.trans_b = args.attrs->integer("transposed", 0) == 0;
  g.batch = x.shape[0] * x.shape[1];
  g.b_group = x.shape[1] > 0 ? x.shape[1] : 1;
  g.m = x.shape[2];
  g.n = y.shape[3];
  g.k = x.shape[3];
  g.stride_a = g.m * g.k;
  g.stride_b = g.k * g.n;
  g.stride_c = g.m * g.n;
  g.rows = rows_of(args, GemmRows::Of::a);
  gemm(g, stream);
}

void expert_linear_weight_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const TensorView& dy = args.inputs[1];
  Gemm g = product_of(dy, x, args.outputs[0]);
  g.trans_a = true;
  g.batch = x.shape[0];
  g.m = dy.shape[3];
  g.n = x.shape[3];
  g.k = x.shape[1] * x.shape[2];
  g.stride_a = g.k * g.m;
  g.stride_b = g.k * g.n;
  g.stride_c = g.m * g.n;
  g.rows = rows_of(args, GemmRows::Of::inner);
  gemm(g, stream);
}

// The steps of ops/cpu/muon.cpp, one matrix after another: they share the scratch.
void newton_schulz_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  const Attrs& attrs = *args.attrs;
  const int64_t m = x.shape[1], n = x.shape[2], k = m < n ? m : n;
  const bool tall = m > n;
  if (x.elements() == 0) return;
  const int64_t size = size_of(x.dtype);
  std::byte* gram = args.scratch.data();
  std::byte* polynomial = gram + k * k * size;
  std::byte* before = polynomial + k * k * size;
  Gemm base;
  base.dtype = base.out_dtype = x.dtype;
  for (int64_t i = 0; i < x.shape[0]; ++i) {
    std::byte* at = y.as<std::byte>() + i * m * n * size;
    with_float(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      launch(stream, 1, kWideBlock, kWideBlock / kWarpSize * sizeof(double), unit_norm_kernel<T>,
             reinterpret_cast<T*>(at), x.as<T>() + i * m * n, m * n, attrs.number("eps", 1e-7));
    });
    for (int64_t step = 0; step < attrs.integer("steps", 5); ++step) {
      const auto copied = [&](std::byte* to, const std::byte* from, int64_t elements) {
        copy_strided(to, {1}, from, {1}, {elements}, size, stream);
      };
      copied(before, at, m * n);
      Gemm g = base;
      g.trans_a = tall;
      g.trans_b = !tall;
      g.m = g.n = g.ldc = k;
      g.k = tall ? m : n;
      g.a = g.b = at;
      g.lda = g.ldb = n;
      g.c = gram;
      gemm(g, stream);
      copied(polynomial, gram, k * k);
      g = base;
      g.m = g.n = g.k = g.lda = g.ldb = g.ldc = k;
      g.a = g.b = gram;
      g.c = polynomial;
      g.alpha = attrs.number("c", 2.0315);
      g.beta = attrs.number("b", -4.7750);
      gemm(g, stream);
      g = base;
      g.m = m;
      g.n = g.ldc = n;
      g.k = k;
      g.a = tall ? before : polynomial;
      g.lda = tall ? n : k;
      g.b = tall ? polynomial : before;
      g.ldb = tall ? k : n;
      g.c = at;
      g.beta = attrs.number("a", 3.4445);
      gemm(g, stream);
    }
  }
}

}  // namespace troupe::cuda
