// The CUDA runtime that needs no GPU: what kernels have no use for, and so need not be compiled again for.
#pragma once

#include <cuda_runtime.h>

inline constexpr auto cudaErrorHostMemoryAlreadyRegistered = static_cast<cudaError_t>(712);
inline constexpr auto cudaErrorHostMemoryNotRegistered = static_cast<cudaError_t>(713);

inline constexpr unsigned cudaHostRegisterPortable = 1;
inline constexpr unsigned cudaHostRegisterMapped = 2;

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned int flags);
cudaError_t cudaHostUnregister(void* pointer);
cudaError_t cudaHostGetDevicePointer(void** there, void* pointer, unsigned int flags);
