// The kernels of ops on CUDA devices, one function per op; list.cu has them by the ops' names. What an op means is in its
// definition in ops/. None waits: each starts grids on the stream.
//
// Ids and labels outside their table are not found here: they read nothing and give zeros, where the CPU reports them.
#pragma once

#include "runtime/device/kernel.h"

namespace troupe::cuda {

// activation.cu
void gelu_cuda(const KernelArgs& args, Stream& stream);
void gelu_gradient_cuda(const KernelArgs& args, Stream& stream);
void relu_cuda(const KernelArgs& args, Stream& stream);
void relu_gradient_cuda(const KernelArgs& args, Stream& stream);
void tanh_cuda(const KernelArgs& args, Stream& stream);
void tanh_gradient_cuda(const KernelArgs& args, Stream& stream);
void sigmoid_cuda(const KernelArgs& args, Stream& stream);
void sigmoid_gradient_cuda(const KernelArgs& args, Stream& stream);
void silu_cuda(const KernelArgs& args, Stream& stream);
void silu_gradient_cuda(const KernelArgs& args, Stream& stream);
void swiglu_cuda(const KernelArgs& args, Stream& stream);
void swiglu_gradient_cuda(const KernelArgs& args, Stream& stream);
// elementary.cu
void exp_cuda(const KernelArgs& args, Stream& stream);
void log_cuda(const KernelArgs& args, Stream& stream);
void softplus_cuda(const KernelArgs& args, Stream& stream);
void sqrt_cuda(const KernelArgs& args, Stream& stream);
void rsqrt_cuda(const KernelArgs& args, Stream& stream);
void neg_cuda(const KernelArgs& args, Stream& stream);
void abs_cuda(const KernelArgs& args, Stream& stream);
void sign_cuda(const KernelArgs& args, Stream& stream);
void cos_cuda(const KernelArgs& args, Stream& stream);
void sin_cuda(const KernelArgs& args, Stream& stream);
void square_cuda(const KernelArgs& args, Stream& stream);
// scalar.cu
void add_scalar_cuda(const KernelArgs& args, Stream& stream);
void mul_scalar_cuda(const KernelArgs& args, Stream& stream);
void rsub_scalar_cuda(const KernelArgs& args, Stream& stream);
void rdiv_scalar_cuda(const KernelArgs& args, Stream& stream);
void pow_scalar_cuda(const KernelArgs& args, Stream& stream);
void minimum_scalar_cuda(const KernelArgs& args, Stream& stream);
void maximum_scalar_cuda(const KernelArgs& args, Stream& stream);
// pairs.cu
void add_cuda(const KernelArgs& args, Stream& stream);
void sub_cuda(const KernelArgs& args, Stream& stream);
void mul_cuda(const KernelArgs& args, Stream& stream);
void div_cuda(const KernelArgs& args, Stream& stream);
void minimum_cuda(const KernelArgs& args, Stream& stream);
void maximum_cuda(const KernelArgs& args, Stream& stream);
void equal_cuda(const KernelArgs& args, Stream& stream);
void less_cuda(const KernelArgs& args, Stream& stream);
void where_cuda(const KernelArgs& args, Stream& stream);
// cast.cu
void cast_cuda(const KernelArgs& args, Stream& stream);
// movement.cu
void to_layout_cuda(const KernelArgs& args, Stream& stream);
void assign_cuda(const KernelArgs& args, Stream& stream);
void reshape_cuda(const KernelArgs& args, Stream& stream);
void expand_cuda(const KernelArgs& args, Stream& stream);
void transpose_cuda(const KernelArgs& args, Stream& stream);
void slice_cuda(const KernelArgs& args, Stream& stream);
void pad_cuda(const KernelArgs& args, Stream& stream);
void concat_cuda(const KernelArgs& args, Stream& stream);
void split_cuda(const KernelArgs& args, Stream& stream);
void halves_cuda(const KernelArgs& args, Stream& stream);
void join_halves_cuda(const KernelArgs& args, Stream& stream);
// random.cu
void fill_cuda(const KernelArgs& args, Stream& stream);
void dropout_cuda(const KernelArgs& args, Stream& stream);
void random_normal_cuda(const KernelArgs& args, Stream& stream);
void random_uniform_cuda(const KernelArgs& args, Stream& stream);

}  // namespace troupe::cuda
