// That cublas_lt.h says what NVIDIA's header does. Nothing of this is in a program: it is compiled where there is the header.

#include <cublasLt.h>

#include <cstddef>
#include <type_traits>

#include "ops/cuda/cublas_lt.h"

namespace troupe::cuda {
namespace {

// Passed in the same way: pointers, or numbers of one size.
template <class Ours, class Theirs>
constexpr bool kSame = std::is_pointer_v<Ours> ? std::is_pointer_v<Theirs>
                                               : !std::is_pointer_v<Theirs> && sizeof(Ours) == sizeof(Theirs) &&
                                                     std::is_floating_point_v<Ours> == std::is_floating_point_v<Theirs>;

template <class Ours, class Theirs>
constexpr bool kSameFunction = false;
template <class R, class... P, class S, class... Q>
constexpr bool kSameFunction<R (*)(P...), S (*)(Q...)> = [] {
  if constexpr (sizeof...(P) == sizeof...(Q)) return kSame<R, S> && (kSame<P, Q> && ...);
  return false;
}();

template <class Ours, class Theirs>
constexpr bool is(Ours ours, Theirs theirs) {
  return sizeof(Ours) == sizeof(Theirs) && static_cast<long>(ours) == static_cast<long>(theirs);
}

static_assert(is(CublasStatus::success, CUBLAS_STATUS_SUCCESS));
static_assert(is(CublasStatus::not_initialized, CUBLAS_STATUS_NOT_INITIALIZED));
static_assert(is(CublasStatus::alloc_failed, CUBLAS_STATUS_ALLOC_FAILED));
static_assert(is(CublasStatus::invalid_value, CUBLAS_STATUS_INVALID_VALUE));
static_assert(is(CublasStatus::execution_failed, CUBLAS_STATUS_EXECUTION_FAILED));
static_assert(is(CublasStatus::not_supported, CUBLAS_STATUS_NOT_SUPPORTED));
static_assert(is(CublasCompute::f32, CUBLAS_COMPUTE_32F));
static_assert(is(CublasCompute::f64, CUBLAS_COMPUTE_64F));
static_assert(is(CublasType::f32, CUDA_R_32F));
static_assert(is(CublasType::f64, CUDA_R_64F));
static_assert(is(CublasType::f16, CUDA_R_16F));
static_assert(is(CublasType::bf16, CUDA_R_16BF));
static_assert(is(CublasOperation::none, CUBLAS_OP_N));
static_assert(is(CublasOperation::transpose, CUBLAS_OP_T));
static_assert(is(CublasEpilogue::none, CUBLASLT_EPILOGUE_DEFAULT));
static_assert(is(CublasEpilogue::bias, CUBLASLT_EPILOGUE_BIAS));
static_assert(is(CublasReduction::in_place, CUBLASLT_REDUCTION_SCHEME_INPLACE));
static_assert(is(CublasReduction::compute_type, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
static_assert(is(CublasReduction::output_type, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE));
static_assert(is(CublasMatmulAttribute::transpose_a, CUBLASLT_MATMUL_DESC_TRANSA));
static_assert(is(CublasMatmulAttribute::transpose_b, CUBLASLT_MATMUL_DESC_TRANSB));
static_assert(is(CublasMatmulAttribute::epilogue, CUBLASLT_MATMUL_DESC_EPILOGUE));
static_assert(is(CublasMatmulAttribute::bias_pointer, CUBLASLT_MATMUL_DESC_BIAS_POINTER));
static_assert(is(CublasLayoutAttribute::batch_count, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT));
static_assert(is(CublasLayoutAttribute::batch_stride, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET));
static_assert(is(CublasPreferenceAttribute::workspace_bytes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES));
static_assert(is(CublasPreferenceAttribute::reduction_mask, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK));
static_assert(is(CublasPreferenceAttribute::alignment_a, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES));
static_assert(is(CublasPreferenceAttribute::alignment_b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES));
static_assert(is(CublasPreferenceAttribute::alignment_c, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES));
static_assert(is(CublasPreferenceAttribute::alignment_d, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES));

static_assert(sizeof(CublasAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(alignof(CublasAlgorithm) == alignof(cublasLtMatmulAlgo_t));
using Result = cublasLtMatmulHeuristicResult_t;
static_assert(sizeof(CublasHeuristic) == sizeof(Result) && alignof(CublasHeuristic) == alignof(Result));
static_assert(offsetof(CublasHeuristic, algorithm) == offsetof(Result, algo));
static_assert(offsetof(CublasHeuristic, workspace_bytes) == offsetof(Result, workspaceSize));
static_assert(offsetof(CublasHeuristic, state) == offsetof(Result, state));
static_assert(offsetof(CublasHeuristic, waves) == offsetof(Result, wavesCount));
static_assert(offsetof(CublasHeuristic, reserved) == offsetof(Result, reserved));

using Lt = CublasLt;
static_assert(kSameFunction<decltype(Lt::get_version), decltype(&cublasLtGetVersion)>);
static_assert(kSameFunction<decltype(Lt::get_status_name), decltype(&cublasLtGetStatusName)>);
static_assert(kSameFunction<decltype(Lt::get_status_string), decltype(&cublasLtGetStatusString)>);
static_assert(kSameFunction<decltype(Lt::create), decltype(&cublasLtCreate)>);
static_assert(kSameFunction<decltype(Lt::destroy), decltype(&cublasLtDestroy)>);
static_assert(kSameFunction<decltype(Lt::matmul_create), decltype(&cublasLtMatmulDescCreate)>);
static_assert(kSameFunction<decltype(Lt::matmul_destroy), decltype(&cublasLtMatmulDescDestroy)>);
static_assert(kSameFunction<decltype(Lt::matmul_set), decltype(&cublasLtMatmulDescSetAttribute)>);
static_assert(kSameFunction<decltype(Lt::layout_create), decltype(&cublasLtMatrixLayoutCreate)>);
static_assert(kSameFunction<decltype(Lt::layout_destroy), decltype(&cublasLtMatrixLayoutDestroy)>);
static_assert(kSameFunction<decltype(Lt::layout_set), decltype(&cublasLtMatrixLayoutSetAttribute)>);
static_assert(kSameFunction<decltype(Lt::preference_create), decltype(&cublasLtMatmulPreferenceCreate)>);
static_assert(kSameFunction<decltype(Lt::preference_destroy), decltype(&cublasLtMatmulPreferenceDestroy)>);
static_assert(kSameFunction<decltype(Lt::preference_set), decltype(&cublasLtMatmulPreferenceSetAttribute)>);
static_assert(kSameFunction<decltype(Lt::get_heuristic), decltype(&cublasLtMatmulAlgoGetHeuristic)>);
static_assert(kSameFunction<decltype(Lt::matmul), decltype(&cublasLtMatmul)>);

}  // namespace
}  // namespace troupe::cuda
