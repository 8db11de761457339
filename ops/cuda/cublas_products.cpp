#include "ops/cuda/cublas_products.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include "runtime/base/align.h"
#include "runtime/base/error.h"
#include "runtime/device/cuda/error.h"

namespace troupe::cuda {
namespace {

constexpr const char* kMatmul = "cublasLtMatmul";

// Algorithms that are asked for at once; the first that can be used is.
constexpr int kMostAlgorithms = 8;

CublasType type_of(DType dtype) {
  if (dtype == DType::f64) return CublasType::f64;
  if (dtype == DType::f16) return CublasType::f16;
  return dtype == DType::bf16 ? CublasType::bf16 : CublasType::f32;
}

CublasOperation operation_of(bool transposed) {
  return transposed ? CublasOperation::transpose : CublasOperation::none;
}

// The power of two that divides addresses and distances of an operand's rows.
uint32_t alignment_of(const void* data, int64_t ld, int64_t stride, DType dtype) {
  const auto distances = static_cast<uint64_t>((ld | stride) * size_of(dtype));
  const uint64_t all = distances | reinterpret_cast<uintptr_t>(data) | static_cast<uint64_t>(kArenaAlignment);
  return static_cast<uint32_t>(all & (~all + 1));
}

// With b the same for several of the batch, whose rows follow one another: as fewer products of more rows. Nothing where they
// do not.
std::optional<Gemm> with_b_for_each(Gemm g) {
  if (g.b_group == 1) return g;
  const bool follow = !g.trans_a && g.stride_a == g.m * g.lda && g.stride_c == g.m * g.ldc;
  if (!follow || g.batch % g.b_group != 0) return std::nullopt;
  g.m *= g.b_group;
  g.stride_a *= g.b_group;
  g.stride_c *= g.b_group;
  g.batch /= g.b_group;
  g.b_group = 1;
  return g;
}

// What may be given to the library at all.
bool is_plain(const Gemm& g) {
  return g.rows.of == GemmRows::Of::none && g.k > 0 && g.batch <= std::numeric_limits<int32_t>::max() &&
         (g.bias == nullptr || g.out_dtype == g.dtype);  // its bias is of the result's type
}

[[noreturn]] void raise(const CublasLt& library, CublasStatus status, int device, const std::string& call,
                        const std::string& doing) {
  Fault fault;
  fault.device = name_of_device(device);
  fault.what = (doing.empty() ? "" : doing + ": ") + call + ": " + library.get_status_name(status) + " (" +
               library.get_status_string(status) + ")";
  throw FaultError(std::move(fault));
}

template <class Object>
using Owned = std::unique_ptr<Object, CublasStatus (*)(Object*)>;

}  // namespace

// The library's matrices lie column after column, so it is given c^T = op(b)^T op(a)^T, whose memory is the same.
struct CublasProducts::Plan {
  Owned<CublasMatmul> matmul;
  Owned<CublasLayout> b;
  Owned<CublasLayout> a;
  Owned<CublasLayout> c;
  CublasAlgorithm algorithm{};
  size_t workspace_bytes = 0;
};

CublasProducts::CublasProducts(std::shared_ptr<const CublasLt> library, std::shared_ptr<CublasContext> context,
                               int device, DeviceMemory workspace)
    : library_(std::move(library)), context_(std::move(context)), device_(device), workspace_(std::move(workspace)) {}

CublasProducts::~CublasProducts() = default;

bool CublasProducts::run(const Gemm& given, CUstream_st* stream) {
  const std::optional<Gemm> g = with_b_for_each(given);
  if (!g || !is_plain(*g)) return false;
  const Kind kind = kind_of(*g);
  auto found = plans_.find(kind);
  if (found == plans_.end()) found = plans_.emplace(kind, plan_of(kind)).first;
  Plan* plan = found->second.get();
  if (plan == nullptr) return false;
  if (g->bias != nullptr) set_bias(plan->matmul.get(), g->bias, kind);
  const std::array<float, 2> scales = {static_cast<float>(g->alpha), static_cast<float>(g->beta)};
  const bool wide = g->dtype == DType::f64;
  const void* alpha = wide ? static_cast<const void*>(&g->alpha) : &scales[0];
  const void* beta = wide ? static_cast<const void*>(&g->beta) : &scales[1];
  const CublasStatus status = library_->matmul(context_.get(), plan->matmul.get(), alpha, g->b, plan->b.get(), g->a,
                                               plan->a.get(), beta, g->c, plan->c.get(), g->c, plan->c.get(),
                                               &plan->algorithm, workspace_.get(), plan->workspace_bytes, stream);
  if (status != CublasStatus::success) {
    // Of a device that has failed, the library only says that something is wrong; CUDA says what.
    const cudaError_t failed = cudaStreamQuery(stream);
    cudaGetLastError();
    if (failed != cudaErrorNotReady) troupe::check(failed, device_, kMatmul, text_of(kind));
    check(status, kMatmul, kind);
  }
  return true;
}

CublasProducts::Kind CublasProducts::kind_of(const Gemm& g) {
  Kind kind{.dtype = g.dtype,
            .out_dtype = g.out_dtype,
            .trans_a = g.trans_a,
            .trans_b = g.trans_b,
            .has_bias = g.bias != nullptr,
            .batch = g.batch,
            .m = g.m,
            .n = g.n,
            .k = g.k,
            .lda = g.lda,
            .ldb = g.ldb,
            .ldc = g.ldc};
  if (g.batch > 1) {
    kind.stride_a = g.stride_a;
    kind.stride_b = g.stride_b;
    kind.stride_c = g.stride_c;
  }
  kind.alignment_a = alignment_of(g.a, kind.lda, kind.stride_a, g.dtype);
  kind.alignment_b = alignment_of(g.b, kind.ldb, kind.stride_b, g.dtype);
  kind.alignment_c = alignment_of(g.c, kind.ldc, kind.stride_c, g.out_dtype);
  kind.alignment_bias = alignment_of(g.bias, 0, 0, g.dtype);
  return kind;
}

std::unique_ptr<CublasProducts::Plan> CublasProducts::plan_of(const Kind& kind) const {
  const auto layout = [&](DType dtype, int64_t rows, int64_t columns, int64_t ld, int64_t stride) {
    CublasLayout* made = nullptr;
    check(
        library_->layout_create(&made, type_of(dtype), static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), ld),
        "cublasLtMatrixLayoutCreate", kind);
    Owned<CublasLayout> owned(made, library_->layout_destroy);
    const auto set = [&](CublasLayoutAttribute attribute, const auto& value) {
      check(library_->layout_set(made, attribute, &value, sizeof(value)), "cublasLtMatrixLayoutSetAttribute", kind);
    };
    set(CublasLayoutAttribute::batch_count, static_cast<int32_t>(kind.batch));
    set(CublasLayoutAttribute::batch_stride, stride);
    return owned;
  };
  CublasMatmul* matmul = nullptr;
  const bool wide = kind.dtype == DType::f64;
  check(library_->matmul_create(&matmul, wide ? CublasCompute::f64 : CublasCompute::f32,
                                wide ? CublasType::f64 : CublasType::f32),
        "cublasLtMatmulDescCreate", kind);
  auto plan = std::make_unique<Plan>(Plan{
      .matmul = {matmul, library_->matmul_destroy},
      .b = kind.trans_b ? layout(kind.dtype, kind.n, kind.k, kind.ldb, kind.stride_b)
                        : layout(kind.dtype, kind.k, kind.n, kind.ldb, kind.stride_b),
      .a = kind.trans_a ? layout(kind.dtype, kind.k, kind.m, kind.lda, kind.stride_a)
                        : layout(kind.dtype, kind.m, kind.k, kind.lda, kind.stride_a),
      .c = layout(kind.out_dtype, kind.m, kind.n, kind.ldc, kind.stride_c),
  });
  const auto set = [&](CublasMatmulAttribute attribute, const auto& value) {
    check(library_->matmul_set(matmul, attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute", kind);
  };
  set(CublasMatmulAttribute::transpose_a, operation_of(kind.trans_b));
  set(CublasMatmulAttribute::transpose_b, operation_of(kind.trans_a));
  if (kind.has_bias) {
    set(CublasMatmulAttribute::epilogue, CublasEpilogue::bias);
    // The library takes the bias's alignment from its address, which it does not read here.
    set_bias(matmul, reinterpret_cast<const void*>(uintptr_t{kind.alignment_bias}), kind);
  }

  CublasPreference* preference = nullptr;
  check(library_->preference_create(&preference), "cublasLtMatmulPreferenceCreate", kind);
  const Owned<CublasPreference> preference_owned(preference, library_->preference_destroy);
  const auto prefer = [&](CublasPreferenceAttribute attribute, const auto& value) {
    check(library_->preference_set(preference, attribute, &value, sizeof(value)),
          "cublasLtMatmulPreferenceSetAttribute", kind);
  };
  prefer(CublasPreferenceAttribute::workspace_bytes, uint64_t{kCublasWorkspaceBytes});
  // In place, parts are added as they come; in the type of a bf16 result, they are rounded too early.
  prefer(CublasPreferenceAttribute::reduction_mask, CublasReduction::compute_type);
  prefer(CublasPreferenceAttribute::alignment_a, kind.alignment_b);
  prefer(CublasPreferenceAttribute::alignment_b, kind.alignment_a);
  prefer(CublasPreferenceAttribute::alignment_c, kind.alignment_c);
  prefer(CublasPreferenceAttribute::alignment_d, kind.alignment_c);

  std::array<CublasHeuristic, kMostAlgorithms> results{};
  int count = 0;
  const CublasStatus status =
      library_->get_heuristic(context_.get(), matmul, plan->b.get(), plan->a.get(), plan->c.get(), plan->c.get(),
                              preference, kMostAlgorithms, results.data(), &count);
  if (status == CublasStatus::not_supported) return nullptr;
  check(status, "cublasLtMatmulAlgoGetHeuristic", kind);
  const auto end = results.begin() + std::clamp(count, 0, kMostAlgorithms);
  const auto first = std::find_if(results.begin(), end, [](const CublasHeuristic& result) {
    return result.state == CublasStatus::success && result.workspace_bytes <= size_t{kCublasWorkspaceBytes};
  });
  if (first == end) return nullptr;
  plan->algorithm = first->algorithm;
  plan->workspace_bytes = first->workspace_bytes;
  return plan;
}

void CublasProducts::set_bias(CublasMatmul* matmul, const void* bias, const Kind& kind) const {
  check(library_->matmul_set(matmul, CublasMatmulAttribute::bias_pointer, &bias, sizeof(bias)),
        "cublasLtMatmulDescSetAttribute", kind);
}

std::string CublasProducts::text_of(const Kind& kind) {
  const auto matrix = [](int64_t rows, int64_t columns) {
    return "[" + std::to_string(rows) + "," + std::to_string(columns) + "]";
  };
  return "multiplying " + std::string(name_of(kind.dtype)) + matrix(kind.m, kind.k) + " and " + matrix(kind.k, kind.n) +
         (kind.batch > 1 ? ", a batch of " + std::to_string(kind.batch) : "");
}

void CublasProducts::check(CublasStatus status, const char* call, const Kind& kind) const {
  if (status != CublasStatus::success) raise(*library_, status, device_, call, text_of(kind));
}

KernelLibrary cublas_products(CublasLtFound found) {
  if (found.library == nullptr) return {.description = std::move(found.description)};
  // A context is there for as long as one of its device's queues, or what makes them.
  struct Contexts {
    std::mutex mutex;
    std::map<int, std::shared_ptr<CublasContext>> of;
  };
  const auto make = [library = found.library, contexts = std::make_shared<Contexts>()](
                        int device, DeviceMemory workspace) -> std::unique_ptr<QueueState> {
    const std::lock_guard lock(contexts->mutex);
    std::shared_ptr<CublasContext>& context = contexts->of[device];
    if (context == nullptr) {
      CublasContext* made = nullptr;
      const CublasStatus status = library->create(&made);
      if (status != CublasStatus::success) raise(*library, status, device, "cublasLtCreate", "");
      context = {made, [library](CublasContext* of) { library->destroy(of); }};
    }
    return std::make_unique<CublasProducts>(library, context, device, std::move(workspace));
  };
  return {std::move(found.description), kCublasWorkspaceBytes, make};
}

}  // namespace troupe::cuda
