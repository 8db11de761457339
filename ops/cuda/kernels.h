// The kernels of ops on CUDA devices, one function per op; list.cu has them by the ops' names. What an op means is in its
// definition in ops/. None waits: each starts grids on the stream.
//
// Ids, labels and choices that are out of range read nothing and are reported (ops/cuda/report.h).
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
// sums.cu
void add_n_cuda(const KernelArgs& args, Stream& stream);
void accumulate_cuda(const KernelArgs& args, Stream& stream);
// pull.cu
void pull_cuda(const KernelArgs& args, Stream& stream);
// softmax.cu
void softmax_cuda(const KernelArgs& args, Stream& stream);
void softmax_gradient_cuda(const KernelArgs& args, Stream& stream);
void log_softmax_cuda(const KernelArgs& args, Stream& stream);
void log_softmax_gradient_cuda(const KernelArgs& args, Stream& stream);
// norms.cu
void layer_norm_cuda(const KernelArgs& args, Stream& stream);
void layer_norm_gradient_cuda(const KernelArgs& args, Stream& stream);
void rms_norm_cuda(const KernelArgs& args, Stream& stream);
void rms_norm_gradient_cuda(const KernelArgs& args, Stream& stream);
void normalize_cuda(const KernelArgs& args, Stream& stream);
void normalize_gradient_cuda(const KernelArgs& args, Stream& stream);
// reduce.cu
void reduce_sum_cuda(const KernelArgs& args, Stream& stream);
void reduce_mean_cuda(const KernelArgs& args, Stream& stream);
void reduce_max_cuda(const KernelArgs& args, Stream& stream);
void reduce_min_cuda(const KernelArgs& args, Stream& stream);
void mean_squares_cuda(const KernelArgs& args, Stream& stream);
void sum_to_cuda(const KernelArgs& args, Stream& stream);
void row_sum_squares_cuda(const KernelArgs& args, Stream& stream);
void row_sum_cuda(const KernelArgs& args, Stream& stream);
// scalars.cu
void count_cuda(const KernelArgs& args, Stream& stream);
void weighted_mean_cuda(const KernelArgs& args, Stream& stream);
void global_norm_scale_cuda(const KernelArgs& args, Stream& stream);
void is_finite_cuda(const KernelArgs& args, Stream& stream);
void loss_scale_update_cuda(const KernelArgs& args, Stream& stream);
void lamb_rate_cuda(const KernelArgs& args, Stream& stream);
void adafactor_rate_cuda(const KernelArgs& args, Stream& stream);
// optimizer.cu
void sgd_cuda(const KernelArgs& args, Stream& stream);
void adamw_cuda(const KernelArgs& args, Stream& stream);
void lamb_cuda(const KernelArgs& args, Stream& stream);
void apply_update_cuda(const KernelArgs& args, Stream& stream);
void adafactor_moment_cuda(const KernelArgs& args, Stream& stream);
void adafactor_direction_cuda(const KernelArgs& args, Stream& stream);
void muon_momentum_cuda(const KernelArgs& args, Stream& stream);
// losses.cu
void cross_entropy_cuda(const KernelArgs& args, Stream& stream);
void cross_entropy_gradient_cuda(const KernelArgs& args, Stream& stream);
void exp_sum_cuda(const KernelArgs& args, Stream& stream);
void picked_logit_cuda(const KernelArgs& args, Stream& stream);
void margin_logits_cuda(const KernelArgs& args, Stream& stream);
void margin_logits_gradient_cuda(const KernelArgs& args, Stream& stream);
void count_labels_cuda(const KernelArgs& args, Stream& stream);
void tree_sum_cuda(const KernelArgs& args, Stream& stream);
// embedding.cu
void embedding_cuda(const KernelArgs& args, Stream& stream);
void embedding_gradient_cuda(const KernelArgs& args, Stream& stream);
// products.cu
void matmul_cuda(const KernelArgs& args, Stream& stream);
void linear_cuda(const KernelArgs& args, Stream& stream);
void linear_input_gradient_cuda(const KernelArgs& args, Stream& stream);
void linear_weight_gradient_cuda(const KernelArgs& args, Stream& stream);
void expert_linear_cuda(const KernelArgs& args, Stream& stream);
void expert_linear_weight_gradient_cuda(const KernelArgs& args, Stream& stream);
void newton_schulz_cuda(const KernelArgs& args, Stream& stream);
// attention_forward.cu
void attention_cuda(const KernelArgs& args, Stream& stream);
// attention_backward.cu
void attention_gradient_cuda(const KernelArgs& args, Stream& stream);
// sequence.cu
void rope_cuda(const KernelArgs& args, Stream& stream);
void merge_attention_cuda(const KernelArgs& args, Stream& stream);
// routing.cu
void top_k_cuda(const KernelArgs& args, Stream& stream);
void top_k_gradient_cuda(const KernelArgs& args, Stream& stream);
void expert_places_cuda(const KernelArgs& args, Stream& stream);
void dispatch_cuda(const KernelArgs& args, Stream& stream);
void combine_cuda(const KernelArgs& args, Stream& stream);
void routed_dot_cuda(const KernelArgs& args, Stream& stream);
// batch_norm.cu
void batch_norm_cuda(const KernelArgs& args, Stream& stream);
void batch_norm_gradient_cuda(const KernelArgs& args, Stream& stream);
void channel_sum_cuda(const KernelArgs& args, Stream& stream);
void channel_square_sum_cuda(const KernelArgs& args, Stream& stream);
void channel_product_sum_cuda(const KernelArgs& args, Stream& stream);
void channel_normalize_cuda(const KernelArgs& args, Stream& stream);
void batch_norm_input_gradient_cuda(const KernelArgs& args, Stream& stream);
// pool.cu
void max_pool2d_cuda(const KernelArgs& args, Stream& stream);
void max_pool2d_gradient_cuda(const KernelArgs& args, Stream& stream);
void avg_pool2d_cuda(const KernelArgs& args, Stream& stream);
void avg_pool2d_gradient_cuda(const KernelArgs& args, Stream& stream);
void adaptive_avg_pool2d_cuda(const KernelArgs& args, Stream& stream);
void adaptive_avg_pool2d_gradient_cuda(const KernelArgs& args, Stream& stream);
// conv.cu
void conv2d_cuda(const KernelArgs& args, Stream& stream);
void conv2d_input_gradient_cuda(const KernelArgs& args, Stream& stream);
void conv2d_weight_gradient_cuda(const KernelArgs& args, Stream& stream);

}  // namespace troupe::cuda
