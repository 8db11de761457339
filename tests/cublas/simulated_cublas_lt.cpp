#include "tests/cublas/simulated_cublas_lt.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "tests/cublas/simulated_product.h"

namespace troupe::simulated_cublas_lt {
namespace {

using namespace troupe::cuda;

constexpr uint64_t kMagic = 0xc0b1a5;
constexpr size_t kPartBytes = 256;  // of the workspace, for an algorithm that adds two parts

struct Algorithm {
  Configuration of;
  CublasPreference told;
  uint32_t bias_alignment;
  bool in_place, in_parts;
};

struct State {
  std::mutex mutex;
  std::map<std::string, int64_t> calls;
  std::map<std::string, std::deque<std::pair<int, CublasStatus>>> failing;
  std::set<const void*> objects;
  std::vector<Algorithm> algorithms;
  uint32_t least_alignment = 0;
  bool is_installed = true;
  int64_t in_place_products = 0;
};
State& state() {
  static State instance;
  return instance;
}

// Every call: counted, perhaps failing, and with objects that are alive.
template <class Body, class... Objects>
CublasStatus call(const char* name, Body&& body, const Objects*... objects) {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  ++all.calls[name];
  if (auto& failing = all.failing[name]; !failing.empty() && --failing.front().first == 0) {
    const CublasStatus status = failing.front().second;
    failing.pop_front();
    return status;
  }
  if ((... || !all.objects.contains(objects))) return CublasStatus::invalid_value;
  return body(all);
}

template <class Object>
CublasStatus create(const char* name, Object** made, const Object& as) {
  return call(name, [&](State& all) {
    *made = new Object(as);
    all.objects.insert(*made);
    return CublasStatus::success;
  });
}

template <class Object>
CublasStatus destroy(const char* name, Object* object) {
  return call(
      name,
      [&](State& all) {
        all.objects.erase(object);
        delete object;
        return CublasStatus::success;
      },
      object);
}

template <class T>
CublasStatus set(T& attribute, const void* value, size_t bytes) {
  if (bytes != sizeof(T) || value == nullptr) return CublasStatus::invalid_value;
  std::memcpy(&attribute, value, bytes);
  return CublasStatus::success;
}

uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | 256;
  return static_cast<uint32_t>(address & (~address + 1));
}

// Of the current device, as it must be.
bool is_here(const CublasContext& context) {
  int device = -1;
  return cudaGetDevice(&device) == cudaSuccess && device == context.device;
}

// Where an algorithm that adds two parts begins the second: in another place for other shapes and alignments.
int64_t cut_of(const Algorithm& algorithm) {
  const CublasLayout& d = algorithm.of.d;
  const CublasPreference& told = algorithm.told;
  const int64_t mixed = d.rows * 3 + d.columns * 5 + d.batch * 7 + std::min({told.a, told.b, told.d}) / 4;
  return inner_of(algorithm.of) * (1 + mixed % 7) / 8;
}

// ---- The functions ----

size_t get_version() { return 130100; }

const char* get_status_name(CublasStatus status) {
  switch (status) {
    case CublasStatus::success:
      return "CUBLAS_STATUS_SUCCESS";
    case CublasStatus::not_initialized:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CublasStatus::alloc_failed:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CublasStatus::invalid_value:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CublasStatus::execution_failed:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CublasStatus::not_supported:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unrecognized status";
}

const char* get_status_string(CublasStatus status) {
  return status == CublasStatus::success ? "success" : "the simulated library has failed";
}

CublasStatus create_context(CublasContext** made) {
  CublasContext context;
  if (cudaGetDevice(&context.device) != cudaSuccess) return CublasStatus::not_initialized;
  return create("cublasLtCreate", made, context);
}

CublasStatus create_matmul(CublasMatmul** made, CublasCompute compute, CublasType scale) {
  return create("cublasLtMatmulDescCreate", made, {.compute = compute, .scale = scale});
}

CublasStatus set_of_matmul(CublasMatmul* matmul, CublasMatmulAttribute attribute, const void* value, size_t bytes) {
  const auto body = [&](State&) {
    switch (attribute) {
      case CublasMatmulAttribute::transpose_a:
        return set(matmul->a, value, bytes);
      case CublasMatmulAttribute::transpose_b:
        return set(matmul->b, value, bytes);
      case CublasMatmulAttribute::epilogue:
        return set(matmul->epilogue, value, bytes);
      case CublasMatmulAttribute::bias_pointer:
        return set(matmul->bias, value, bytes);
    }
    return CublasStatus::invalid_value;
  };
  return call("cublasLtMatmulDescSetAttribute", body, matmul);
}

CublasStatus create_layout(CublasLayout** made, CublasType type, uint64_t rows, uint64_t columns, int64_t ld) {
  return create("cublasLtMatrixLayoutCreate", made,
                {.type = type, .rows = static_cast<int64_t>(rows), .columns = static_cast<int64_t>(columns), .ld = ld});
}

CublasStatus set_of_layout(CublasLayout* layout, CublasLayoutAttribute attribute, const void* value, size_t bytes) {
  const auto body = [&](State&) {
    return attribute == CublasLayoutAttribute::batch_count ? set(layout->batch, value, bytes)
                                                           : set(layout->stride, value, bytes);
  };
  return call("cublasLtMatrixLayoutSetAttribute", body, layout);
}

CublasStatus set_of_preference(CublasPreference* preference, CublasPreferenceAttribute attribute, const void* value,
                               size_t bytes) {
  const auto body = [&](State&) {
    switch (attribute) {
      case CublasPreferenceAttribute::workspace_bytes:
        return set(preference->workspace_bytes, value, bytes);
      case CublasPreferenceAttribute::reduction_mask:
        return set(preference->reductions, value, bytes);
      case CublasPreferenceAttribute::alignment_a:
        return set(preference->a, value, bytes);
      case CublasPreferenceAttribute::alignment_b:
        return set(preference->b, value, bytes);
      case CublasPreferenceAttribute::alignment_c:
        return set(preference->c, value, bytes);
      case CublasPreferenceAttribute::alignment_d:
        return set(preference->d, value, bytes);
    }
    return CublasStatus::invalid_value;
  };
  return call("cublasLtMatmulPreferenceSetAttribute", body, preference);
}

CublasStatus get_heuristic(CublasContext* context, CublasMatmul* matmul, CublasLayout* a, CublasLayout* b,
                           CublasLayout* c, CublasLayout* d, CublasPreference* preference, int wanted,
                           CublasHeuristic* results, int* count) {
  const auto body = [&](State& all) {
    *count = 0;
    if (wanted <= 0 || !is_here(*context)) return CublasStatus::invalid_value;
    Algorithm algorithm{.of = {},
                        .told = *preference,
                        .bias_alignment = matmul->epilogue == CublasEpilogue::bias ? alignment_of(matmul->bias) : 256,
                        .in_place = false,
                        .in_parts = false};
    if (const CublasStatus status = configure(*matmul, *a, *b, *c, *d, algorithm.of); status != CublasStatus::success) {
      return status;
    }
    const size_t element = size_of_type(a->type);
    if (preference->a < element || preference->b < element || preference->c < size_of_type(d->type) ||
        preference->d < size_of_type(d->type) || algorithm.bias_alignment < size_of_type(d->type)) {
      return CublasStatus::invalid_value;
    }
    if (std::min({preference->a, preference->b, preference->c, preference->d}) < all.least_alignment) {
      return CublasStatus::not_supported;
    }
    const auto may = [&](CublasReduction scheme) {
      return (preference->reductions & static_cast<uint32_t>(scheme)) != 0;
    };
    algorithm.in_place = may(CublasReduction::in_place);
    algorithm.in_parts = may(CublasReduction::compute_type) && preference->workspace_bytes >= kPartBytes;
    results[(*count)++] = {
        .algorithm = {}, .workspace_bytes = 0, .state = CublasStatus::not_supported, .waves = 0, .reserved = {}};
    if (wanted == 1) return CublasStatus::success;
    results[(*count)++] = {.algorithm = {{kMagic, all.algorithms.size()}},
                           .workspace_bytes = algorithm.in_parts ? kPartBytes : 0,
                           .state = CublasStatus::success,
                           .waves = 1,
                           .reserved = {}};
    all.algorithms.push_back(algorithm);
    return CublasStatus::success;
  };
  return call("cublasLtMatmulAlgoGetHeuristic", body, context, matmul, a, b, c, d, preference);
}

CublasStatus matmul(CublasContext* context, CublasMatmul* matmul, const void* alpha, const void* a,
                    CublasLayout* a_layout, const void* b, CublasLayout* b_layout, const void* beta, const void* c,
                    CublasLayout* c_layout, void* d, CublasLayout* d_layout, const CublasAlgorithm* chosen,
                    void* workspace, size_t workspace_bytes, CUstream_st* stream) {
  const auto body = [&](State& all) {
    if (chosen == nullptr || chosen->data[0] != kMagic || chosen->data[1] >= all.algorithms.size() ||
        alpha == nullptr || beta == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr ||
        !is_here(*context)) {
      return CublasStatus::invalid_value;
    }
    const Algorithm& algorithm = all.algorithms[chosen->data[1]];
    Product product{};
    const CublasStatus status = configure(*matmul, *a_layout, *b_layout, *c_layout, *d_layout, product.of);
    if (status != CublasStatus::success) return status;
    const bool has_bias = matmul->epilogue == CublasEpilogue::bias;
    if (!(product.of == algorithm.of) || alignment_of(a) < algorithm.told.a || alignment_of(b) < algorithm.told.b ||
        alignment_of(c) < algorithm.told.c || alignment_of(d) < algorithm.told.d ||
        (has_bias && (matmul->bias == nullptr || alignment_of(matmul->bias) < algorithm.bias_alignment)) ||
        (c == d && !(*c_layout == *d_layout))) {
      return CublasStatus::invalid_value;
    }
    if (algorithm.in_parts && (workspace == nullptr || workspace_bytes < kPartBytes || alignment_of(workspace) < 256)) {
      return CublasStatus::invalid_value;
    }
    const auto number = [&](const void* scale) {
      return matmul->scale == CublasType::f64 ? *static_cast<const double*>(scale) : *static_cast<const float*>(scale);
    };
    product.alpha = number(alpha);
    product.beta = number(beta);
    product.a = a;
    product.b = b;
    product.c = c;
    product.d = d;
    product.bias = matmul->bias;
    product.workspace = workspace;
    product.in_parts = algorithm.in_parts;
    product.cut = cut_of(algorithm);
    if (algorithm.in_place) product.first_k = all.in_place_products++;
    return launch(product, stream) == cudaSuccess ? CublasStatus::success : CublasStatus::execution_failed;
  };
  return call("cublasLtMatmul", body, context, matmul, a_layout, b_layout, c_layout, d_layout);
}

}  // namespace

std::shared_ptr<const CublasLt> library() {
  auto made = std::make_shared<CublasLt>();
  made->get_version = get_version;
  made->get_status_name = get_status_name;
  made->get_status_string = get_status_string;
  made->create = create_context;
  made->destroy = [](CublasContext* object) { return destroy("cublasLtDestroy", object); };
  made->matmul_create = create_matmul;
  made->matmul_destroy = [](CublasMatmul* object) { return destroy("cublasLtMatmulDescDestroy", object); };
  made->matmul_set = set_of_matmul;
  made->layout_create = create_layout;
  made->layout_destroy = [](CublasLayout* object) { return destroy("cublasLtMatrixLayoutDestroy", object); };
  made->layout_set = set_of_layout;
  made->preference_create = [](CublasPreference** object) {
    return create("cublasLtMatmulPreferenceCreate", object, {});
  };
  made->preference_destroy = [](CublasPreference* object) {
    return destroy("cublasLtMatmulPreferenceDestroy", object);
  };
  made->preference_set = set_of_preference;
  made->get_heuristic = get_heuristic;
  made->matmul = matmul;
  return made;
}

void install(bool is_installed) {
  const std::lock_guard lock(state().mutex);
  state().is_installed = is_installed;
}

void reset() {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  all.calls.clear();
  all.failing.clear();
  all.least_alignment = 0;
}

void fail_call(const std::string& call, CublasStatus status, int nth) {
  const std::lock_guard lock(state().mutex);
  state().failing[call].emplace_back(nth, status);
}

void know_none_below(uint32_t alignment) {
  const std::lock_guard lock(state().mutex);
  state().least_alignment = alignment;
}

int64_t calls(const std::string& call) {
  const std::lock_guard lock(state().mutex);
  return state().calls[call];
}

int64_t objects() {
  const std::lock_guard lock(state().mutex);
  return std::ssize(state().objects);
}

}  // namespace troupe::simulated_cublas_lt

namespace troupe::cuda {

CublasLtFound installed_cublas_lt() {
  const std::lock_guard lock(simulated_cublas_lt::state().mutex);
  if (!simulated_cublas_lt::state().is_installed) return {nullptr, "no cuBLASLt: none is simulated"};
  return {simulated_cublas_lt::library(), "cuBLASLt 13.1.0"};
}

}  // namespace troupe::cuda
