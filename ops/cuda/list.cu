#include "ops/cuda/kernels.h"
#include "ops/cuda/list.h"

namespace troupe {

void add_cuda_kernels(KernelTable& table) {
  const auto add = [&table](const char* op, Kernel kernel) { table.add(op, DeviceKind::cuda, kernel); };
  add("gelu", cuda::gelu_cuda);
  add("gelu_gradient", cuda::gelu_gradient_cuda);
  add("relu", cuda::relu_cuda);
  add("relu_gradient", cuda::relu_gradient_cuda);
  add("tanh", cuda::tanh_cuda);
  add("tanh_gradient", cuda::tanh_gradient_cuda);
  add("sigmoid", cuda::sigmoid_cuda);
  add("sigmoid_gradient", cuda::sigmoid_gradient_cuda);
  add("silu", cuda::silu_cuda);
  add("silu_gradient", cuda::silu_gradient_cuda);
  add("swiglu", cuda::swiglu_cuda);
  add("swiglu_gradient", cuda::swiglu_gradient_cuda);
  add("exp", cuda::exp_cuda);
  add("log", cuda::log_cuda);
  add("softplus", cuda::softplus_cuda);
  add("sqrt", cuda::sqrt_cuda);
  add("rsqrt", cuda::rsqrt_cuda);
  add("neg", cuda::neg_cuda);
  add("abs", cuda::abs_cuda);
  add("sign", cuda::sign_cuda);
  add("cos", cuda::cos_cuda);
  add("sin", cuda::sin_cuda);
  add("square", cuda::square_cuda);
  add("add_scalar", cuda::add_scalar_cuda);
  add("mul_scalar", cuda::mul_scalar_cuda);
  add("rsub_scalar", cuda::rsub_scalar_cuda);
  add("rdiv_scalar", cuda::rdiv_scalar_cuda);
  add("pow_scalar", cuda::pow_scalar_cuda);
  add("minimum_scalar", cuda::minimum_scalar_cuda);
  add("maximum_scalar", cuda::maximum_scalar_cuda);
  add("add", cuda::add_cuda);
  add("sub", cuda::sub_cuda);
  add("mul", cuda::mul_cuda);
  add("div", cuda::div_cuda);
  add("minimum", cuda::minimum_cuda);
  add("maximum", cuda::maximum_cuda);
  add("equal", cuda::equal_cuda);
  add("less", cuda::less_cuda);
  add("where", cuda::where_cuda);
  add("cast", cuda::cast_cuda);
  add("to_layout", cuda::to_layout_cuda);
  add("assign", cuda::assign_cuda);
  add("reshape", cuda::reshape_cuda);
  add("expand", cuda::expand_cuda);
  add("transpose", cuda::transpose_cuda);
  add("slice", cuda::slice_cuda);
  add("pad", cuda::pad_cuda);
  add("concat", cuda::concat_cuda);
  add("split", cuda::split_cuda);
  add("halves", cuda::halves_cuda);
  add("join_halves", cuda::join_halves_cuda);
  add("fill", cuda::fill_cuda);
  add("dropout", cuda::dropout_cuda);
  add("random_normal", cuda::random_normal_cuda);
  add("random_uniform", cuda::random_uniform_cuda);
}

}  // namespace troupe
