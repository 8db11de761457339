// Matrix products by cuBLASLt, for the queues of devices.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <string>

#include "ops/cuda/cublas_lt.h"
#include "ops/cuda/gemm.h"
#include "runtime/device/backend.h"
#include "runtime/device/cuda/backend.h"
#include "runtime/device/cuda/queue.h"

namespace troupe::cuda {

// Of each queue, for algorithms that add parts of a sum: what NVIDIA recommends for its largest GPUs.
inline constexpr int64_t kCublasWorkspaceBytes = int64_t{32} << 20;

// What finds out once per kind of product how the library computes it, and then only starts it. The bits of a result depend on
// the kind, the data, the GPU's model and the library's version: no algorithm is chosen by measuring, and none adds in an order
// that is not fixed. Sums are float32, or float64 of float64, also where they are made of parts.
class CublasProducts final : public QueueState {
 public:
  // `workspace` is of kCublasWorkspaceBytes, on the device.
  CublasProducts(std::shared_ptr<const CublasLt> library, std::shared_ptr<CublasContext> context, int device,
                 DeviceMemory workspace);
  ~CublasProducts() override;

  // Puts the product into the stream, which is of the device. False, having done nothing, where the library does not take
  // it: with rows that are not there, or without an algorithm for these types and alignments. FaultError that names the call.
  bool run(const Gemm& gemm, CUstream_st* stream);

 private:
  // All that an algorithm is chosen by. Alignments are those of operands whose memory is aligned as tensors are, so that
  // they follow from the shape.
  struct Kind {
    DType dtype = DType::f32;
    DType out_dtype = DType::f32;
    bool trans_a = false, trans_b = false, has_bias = false;
    int64_t batch = 1, m = 0, n = 0, k = 0;
    int64_t lda = 0, stride_a = 0, ldb = 0, stride_b = 0, ldc = 0, stride_c = 0;
    uint32_t alignment_a = 0, alignment_b = 0, alignment_c = 0, alignment_bias = 0;
    auto operator<=>(const Kind&) const = default;
  };
  struct Plan;

  static Kind kind_of(const Gemm& gemm);
  static std::string text_of(const Kind& kind);
  std::unique_ptr<Plan> plan_of(const Kind& kind) const;
  void set_bias(CublasMatmul* matmul, const void* bias, const Kind& kind) const;
  void check(CublasStatus status, const char* call, const Kind& kind) const;

  const std::shared_ptr<const CublasLt> library_;
  const std::shared_ptr<CublasContext> context_;
  const int device_;
  const DeviceMemory workspace_;
  std::map<Kind, std::unique_ptr<Plan>> plans_;  // null: the library does not take it
};

// For a backend whose queues are to have it; of its devices' contexts there is one each. Without a library queues have none.
KernelLibrary cublas_products(CublasLtFound found);

}  // namespace troupe::cuda
