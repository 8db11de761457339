// cuBLASLt without a GPU: the functions of ops/cuda/cublas_lt.h, whose products are computed in streams of the simulated CUDA
// runtime, as kernels of one thread. What NVIDIA's documentation does not allow is refused with the status that it names; where
// it leaves something open, what is worse for the caller happens:
//   the first algorithm that a heuristic gives cannot be used
//   one that may add in place adds in an order that differs from call to call; one that may use a workspace adds parts that
//   differ for other shapes and alignments
//   an operand that is less aligned than the heuristic was told is refused
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/cuda/cublas_lt.h"

namespace troupe::simulated_cublas_lt {

// As a new process finds it: nothing has been called, nothing fails. Objects that are alive stay so.
void reset();
std::shared_ptr<const cuda::CublasLt> library();
// Whether cuda::installed_cublas_lt() finds it; it does by default.
void install(bool is_installed);

// The nth next call of a function ("cublasLtMatmul") gives the status and does nothing.
void fail_call(const std::string& call, cuda::CublasStatus status, int nth = 1);
// From now on heuristics know no algorithm for operands that are less aligned, in bytes.
void know_none_below(uint32_t alignment);

int64_t calls(const std::string& call);
// Contexts, descriptions, layouts and preferences that have not been destroyed.
int64_t objects();

}  // namespace troupe::simulated_cublas_lt
