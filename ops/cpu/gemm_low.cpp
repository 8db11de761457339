#include "ops/cpu/gemm_low.h"

#include <algorithm>
#include <compare>
#include <map>
#include <type_traits>

#include "ops/cpu/gemm.h"
#include "ops/cpu/movement.h"
#include "ops/cpu/one_thread.h"
#include "ops/cpu/onednn.h"

namespace troupe::cpu {
namespace {

struct Form {
  bool trans_a, trans_b, bias, wide;  // wide: c is float32
  int64_t m, n, k, lda, ldb, ldc;
  auto operator<=>(const Form&) const = default;
};

// A product of one form, made once per thread: its scratch belongs to the thread.
class Product {
 public:
  explicit Product(const Form& form) {
    using dnnl::memory;
    const auto matrix = [](int64_t rows, int64_t columns, bool transposed, int64_t stride, bool wide) {
      return memory::desc({rows, columns}, wide ? memory::data_type::f32 : memory::data_type::bf16,
                          transposed ? memory::dims{1, stride} : memory::dims{stride, 1});
    };
    const memory::desc a = matrix(form.m, form.k, form.trans_a, form.lda, false);
    const memory::desc b = matrix(form.k, form.n, form.trans_b, form.ldb, false);
    const memory::desc c = matrix(form.m, form.n, false, form.ldc, form.wide);
    a_ = memory(a, onednn_engine(), nullptr);
    b_ = memory(b, onednn_engine(), nullptr);
    c_ = memory(c, onednn_engine(), nullptr);
    operands_ = {{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}};
    if (form.bias) {
      bias_ = memory(matrix(1, form.n, false, form.n, false), onednn_engine(), nullptr);
      operands_.insert({DNNL_ARG_BIAS, bias_});
      primitive_ = dnnl::matmul({{a, b, bias_.get_desc(), c}, onednn_engine()});
    } else {
      primitive_ = dnnl::matmul({{a, b, c}, onednn_engine()});
    }
  }

  void run(const BFloat16* a, const BFloat16* b, const BFloat16* bias, void* c) {
    a_.set_data_handle(const_cast<BFloat16*>(a));
    b_.set_data_handle(const_cast<BFloat16*>(b));
    if (bias != nullptr) bias_.set_data_handle(const_cast<BFloat16*>(bias));
    c_.set_data_handle(c);
    primitive_.execute(onednn_stream(), operands_);
    onednn_stream().wait();
  }

 private:
  dnnl::memory a_, b_, bias_, c_;
  std::unordered_map<int, dnnl::memory> operands_;
  dnnl::matmul primitive_;
};

Product& product_of(const Form& form) {
  constexpr size_t kMost = 1024;  // a plan has some dozen forms; a thread may see many plans
  static thread_local std::map<Form, Product> products;
  const auto it = products.find(form);
  if (it != products.end()) return it->second;
  if (products.size() >= kMost) products.clear();
  return products.try_emplace(form, form).first->second;
}

// A block of c is summed in float32 while a and b are widened piece by piece, all of it on the stack.
constexpr int64_t kRows = 64;
constexpr int64_t kColumns = 64;
constexpr int64_t kDepth = 256;

template <LowFloat T>
void widen(float* to, const T* from, int64_t rows, int64_t columns, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) cast<float, T>(to + i * columns, from + i * stride, columns);
}

}  // namespace

bool multiplies_bf16() {
  static const bool found = __builtin_cpu_supports("avx512bf16") > 0;
  return found;
}

template <LowFloat T, typename C>
void gemm_low(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
              int64_t ldb, const T* bias, C* c, int64_t ldc) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (multiplies_bf16() && m > 0 && n > 0 && k > 0) {
      const OneThread one_thread;
      const Form form = {trans_a, trans_b, bias != nullptr, std::is_same_v<C, float>, m, n, k, lda, ldb, ldc};
      return product_of(form).run(a, b, bias, c);
    }
  }
  gemm_low_in_float32(trans_a, trans_b, m, n, k, a, lda, b, ldb, bias, c, ldc);
}

template <LowFloat T, typename C>
void gemm_low_in_float32(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
                         const T* b, int64_t ldb, const T* bias, C* c, int64_t ldc) {
  alignas(64) float left[kRows * kDepth], right[kDepth * kColumns], sum[kRows * kColumns];
  for (int64_t i = 0; i < m; i += kRows) {
    const int64_t rows = std::min(kRows, m - i);
    for (int64_t j = 0; j < n; j += kColumns) {
      const int64_t columns = std::min(kColumns, n - j);
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t column = 0; column < columns; ++column) {
          sum[row * columns + column] = bias == nullptr ? 0.0f : static_cast<float>(bias[j + column]);
        }
      }
      for (int64_t p = 0; p < k; p += kDepth) {
        const int64_t depth = std::min(kDepth, k - p);
        widen(left, trans_a ? a + p * lda + i : a + i * lda + p, trans_a ? depth : rows, trans_a ? rows : depth, lda);
        widen(right, trans_b ? b + j * ldb + p : b + p * ldb + j, trans_b ? columns : depth, trans_b ? depth : columns,
              ldb);
        gemm<float>(trans_a, trans_b, rows, columns, depth, 1, left, trans_a ? rows : depth, right,
                    trans_b ? depth : columns, 1, sum, columns);
      }
      for (int64_t row = 0; row < rows; ++row) {
        cast<C, float>(c + (i + row) * ldc + j, sum + row * columns, columns);
      }
    }
  }
}

template <LowFloat T>
struct GemmInstances {
  static constexpr auto g0 = gemm_low<T, T>;
  static constexpr auto g1 = gemm_low<T, float>;
  static constexpr auto g2 = gemm_low_in_float32<T, T>;
  static constexpr auto g3 = gemm_low_in_float32<T, float>;
};
template struct GemmInstances<BFloat16>;
template struct GemmInstances<Float16>;

}  // namespace troupe::cpu
