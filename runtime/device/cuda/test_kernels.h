// Kernels for the tests of this folder, and what they need to be put into queues.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/device/cuda/stream.h"
#include "runtime/device/queue.h"

namespace troupe {

// out = 31 * in + number, so that the order of launches shows.
__global__ inline void append_digit(const uint64_t* in, uint64_t* out, uint64_t number) { *out = *in * 31 + number; }

inline void launch_append(const KernelArgs& args, Stream& stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(1);
  config.stream = stream_of(stream);
  cudaLaunchKernelEx(&config, append_digit, args.inputs[0].as<const uint64_t>(), args.outputs[0].as<uint64_t>(),
                     args.key);
}

inline TensorView view_of(void* data) {
  TensorView view;
  view.data = data;
  view.dtype = DType::i64;
  view.shape = Shape{1};
  return view;
}

inline void append(DeviceQueue& queue, const void* in, void* out, uint64_t number) {
  const TensorView input = view_of(const_cast<void*>(in));
  const TensorView output = view_of(out);
  static std::string failure;
  KernelArgs args;
  args.inputs = {&input, 1};
  args.outputs = {&output, 1};
  args.key = number;
  args.failure = &failure;
  queue.launch(launch_append, args);
}

// The fault that the call throws; an empty one when it does not.
template <class Call>
Fault fault_of(Call&& call) {
  try {
    call();
  } catch (const FaultError& error) {
    return error.fault();
  }
  ADD_FAILURE() << "no fault";
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  ADD_FAILURE() << "'" << part << "' is not in: " << text;
  return false;
}

}  // namespace troupe
