// What a product of the simulated cuBLASLt is described by, and how it is computed.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "ops/cuda/cublas_lt.h"

namespace troupe::cuda {

// The library's objects, which only it sees into.
struct CublasContext {
  int device = 0;
};
struct CublasMatmul {
  CublasCompute compute{};
  CublasType scale{};
  CublasOperation a = CublasOperation::none, b = CublasOperation::none;
  CublasEpilogue epilogue = CublasEpilogue::none;
  const void* bias = nullptr;
};
struct CublasLayout {
  CublasType type{};
  int64_t rows = 0, columns = 0, ld = 0, stride = 0;
  int32_t batch = 1;
  bool operator==(const CublasLayout&) const = default;
};
struct CublasPreference {
  uint64_t workspace_bytes = 0;
  uint32_t reductions = 7;
  uint32_t a = 256, b = 256, c = 256, d = 256;  // alignments
};

}  // namespace troupe::cuda

namespace troupe::simulated_cublas_lt {

// What an algorithm was given for.
struct Configuration {
  cuda::CublasCompute compute;
  cuda::CublasOperation trans_a, trans_b;
  cuda::CublasEpilogue epilogue;
  cuda::CublasLayout a, b, c, d;
  bool operator==(const Configuration&) const = default;
};

// What these describe together; or invalid_value where they do not fit, and not_supported where no row of the documentation's
// table has their types.
cuda::CublasStatus configure(const cuda::CublasMatmul& matmul, const cuda::CublasLayout& a, const cuda::CublasLayout& b,
                             const cuda::CublasLayout& c, const cuda::CublasLayout& d, Configuration& result);
// What is summed over.
int64_t inner_of(const Configuration& of);
size_t size_of_type(cuda::CublasType type);

struct Product {
  Configuration of;
  double alpha, beta;
  const void *a, *b, *c, *bias;
  void *d, *workspace;
  bool in_parts;    // adds two, by way of the workspace
  int64_t first_k;  // where the sum begins; it wraps around
  int64_t cut;      // between the parts
};
// By the current device, in its stream.
cudaError_t launch(const Product& product, cudaStream_t stream);

}  // namespace troupe::simulated_cublas_lt
