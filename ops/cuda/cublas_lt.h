// The part of NVIDIA's cuBLASLt that Troupe uses. The library is neither linked nor needed to build: what follows repeats its
// documented interface (https://docs.nvidia.com/cuda/cublas), which is the same in versions 12 and 13, and `load_cublas_lt`
// finds the functions where they are. cublas_lt_check.cpp holds it against NVIDIA's header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct CUstream_st;

namespace troupe::cuda {

// cublasStatus_t: what matters here.
enum class CublasStatus : int {
  success = 0,
  not_initialized = 1,
  alloc_failed = 3,
  invalid_value = 7,
  execution_failed = 13,
  not_supported = 15,
};
// cublasComputeType_t. float32 is float32: no TF32.
enum class CublasCompute : int { f32 = 68, f64 = 70 };
// cudaDataType_t
enum class CublasType : int { f32 = 0, f64 = 1, f16 = 2, bf16 = 14 };
// cublasOperation_t; attributes take it as int32.
enum class CublasOperation : int32_t { none = 0, transpose = 1 };
// cublasLtEpilogue_t; attributes take it as uint32.
enum class CublasEpilogue : uint32_t { none = 1, bias = 4 };
// cublasLtReductionScheme_t, as a mask: uint32.
enum class CublasReduction : uint32_t { in_place = 1, compute_type = 2, output_type = 4 };

// cublasLtMatmulDescAttributes_t
enum class CublasMatmulAttribute : int {
  transpose_a = 3,   // CublasOperation
  transpose_b = 4,   // CublasOperation
  epilogue = 7,      // CublasEpilogue
  bias_pointer = 8,  // const void*
};
// cublasLtMatrixLayoutAttribute_t
enum class CublasLayoutAttribute : int {
  batch_count = 5,   // int32
  batch_stride = 6,  // int64, in elements
};
// cublasLtMatmulPreferenceAttributes_t
enum class CublasPreferenceAttribute : int {
  workspace_bytes = 1,  // uint64
  reduction_mask = 3,   // uint32
  alignment_a = 5,      // uint32, in bytes
  alignment_b = 6,
  alignment_c = 7,
  alignment_d = 8,
};

// Objects of the library.
struct CublasContext;
struct CublasMatmul;
struct CublasLayout;
struct CublasPreference;

// cublasLtMatmulAlgo_t, opaque.
struct CublasAlgorithm {
  uint64_t data[8];
};
// cublasLtMatmulHeuristicResult_t
struct CublasHeuristic {
  CublasAlgorithm algorithm;
  size_t workspace_bytes;
  CublasStatus state;  // of other fields only where it is success
  float waves;
  int reserved[4];
};

// The functions by the names of the library. Thread-safe as it is: a context may be used by several threads at once, other
// objects by one. Matrices lie column after column.
struct CublasLt {
  size_t (*get_version)() = nullptr;  // 130100 is 13.1.0
  const char* (*get_status_name)(CublasStatus) = nullptr;
  const char* (*get_status_string)(CublasStatus) = nullptr;
  CublasStatus (*create)(CublasContext**) = nullptr;  // on the current device
  CublasStatus (*destroy)(CublasContext*) = nullptr;
  CublasStatus (*matmul_create)(CublasMatmul**, CublasCompute, CublasType scale) = nullptr;
  CublasStatus (*matmul_destroy)(CublasMatmul*) = nullptr;
  CublasStatus (*matmul_set)(CublasMatmul*, CublasMatmulAttribute, const void* value, size_t bytes) = nullptr;
  CublasStatus (*layout_create)(CublasLayout**, CublasType, uint64_t rows, uint64_t columns, int64_t ld) = nullptr;
  CublasStatus (*layout_destroy)(CublasLayout*) = nullptr;
  CublasStatus (*layout_set)(CublasLayout*, CublasLayoutAttribute, const void* value, size_t bytes) = nullptr;
  CublasStatus (*preference_create)(CublasPreference**) = nullptr;
  CublasStatus (*preference_destroy)(CublasPreference*) = nullptr;
  CublasStatus (*preference_set)(CublasPreference*, CublasPreferenceAttribute, const void* value,
                                 size_t bytes) = nullptr;
  CublasStatus (*get_heuristic)(CublasContext*, CublasMatmul*, CublasLayout* a, CublasLayout* b, CublasLayout* c,
                                CublasLayout* d, CublasPreference*, int wanted, CublasHeuristic* results,
                                int* count) = nullptr;
  // d = alpha op(a) op(b) + beta c, then the epilogue. alpha and beta are read before it returns.
  CublasStatus (*matmul)(CublasContext*, CublasMatmul*, const void* alpha, const void* a, CublasLayout*, const void* b,
                         CublasLayout*, const void* beta, const void* c, CublasLayout*, void* d, CublasLayout*,
                         const CublasAlgorithm*, void* workspace, size_t workspace_bytes, CUstream_st*) = nullptr;
};

// Calls visit(pointer to the function, its name in the library) for each.
template <class Functions, class Visit>
void for_each_function(Functions& of, Visit&& visit) {
  visit(of.get_version, "cublasLtGetVersion");
  visit(of.get_status_name, "cublasLtGetStatusName");
  visit(of.get_status_string, "cublasLtGetStatusString");
  visit(of.create, "cublasLtCreate");
  visit(of.destroy, "cublasLtDestroy");
  visit(of.matmul_create, "cublasLtMatmulDescCreate");
  visit(of.matmul_destroy, "cublasLtMatmulDescDestroy");
  visit(of.matmul_set, "cublasLtMatmulDescSetAttribute");
  visit(of.layout_create, "cublasLtMatrixLayoutCreate");
  visit(of.layout_destroy, "cublasLtMatrixLayoutDestroy");
  visit(of.layout_set, "cublasLtMatrixLayoutSetAttribute");
  visit(of.preference_create, "cublasLtMatmulPreferenceCreate");
  visit(of.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  visit(of.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  visit(of.get_heuristic, "cublasLtMatmulAlgoGetHeuristic");
  visit(of.matmul, "cublasLtMatmul");
}

// A library, or none.
struct CublasLtFound {
  std::shared_ptr<const CublasLt> library;  // null: none that can be used
  std::string description;                  // "cuBLASLt 13.1.0", or "no cuBLASLt: " and why
};

// Where to look, in this order: the folders of the environment variable TROUPE_CUBLASLT, separated by colons, what the
// system's loader finds, CUDA_HOME and CUDA_PATH, /usr/local/cuda. An empty text stands for the loader.
std::vector<std::string> cublas_lt_folders();

// The first that is there in these folders, version 13 before 12. One that is newer than `driver` (the CUDA version that the
// driver supports: 13000) is passed over; 0: any will do. The library stays loaded.
CublasLtFound load_cublas_lt(const std::vector<std::string>& folders, int driver);

// From there, for the driver of this machine. Looked for anew by each call.
CublasLtFound installed_cublas_lt();

}  // namespace troupe::cuda
