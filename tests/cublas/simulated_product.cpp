#include "tests/cublas/simulated_product.h"

#include <utility>

#include "ops/cuda/numbers.h"

namespace troupe::simulated_cublas_lt {

using namespace troupe::cuda;

namespace {

bool is_low(CublasType type) { return type == CublasType::bf16 || type == CublasType::f16; }

// The rows of the documentation's table of types, for these types.
bool are_types_supported(const CublasMatmul& matmul, const Configuration& of) {
  if (of.a.type != of.b.type || of.c.type != of.d.type) return false;
  if (matmul.compute == CublasCompute::f64) {
    return matmul.scale == CublasType::f64 && of.a.type == CublasType::f64 && of.d.type == CublasType::f64;
  }
  if (matmul.compute != CublasCompute::f32 || matmul.scale != CublasType::f32) return false;
  if (of.a.type == CublasType::f32) return of.d.type == CublasType::f32;
  return is_low(of.a.type) && (of.d.type == of.a.type || of.d.type == CublasType::f32);
}

bool is_possible(const CublasLayout& layout) {
  return layout.rows > 0 && layout.columns > 0 && layout.ld >= layout.rows && layout.batch > 0;
}

template <class T, class Out>
void multiply(const Product& p) {
  using C = Compute<T>;
  const int64_t inner = inner_of(p.of);
  const auto element = [](const auto* data, const CublasLayout& layout, bool transposed, int64_t row, int64_t column) {
    return widened(transposed ? data[row * layout.ld + column] : data[column * layout.ld + row]);
  };
  for (int64_t i = 0; i < p.of.d.batch; ++i) {
    const T* a = static_cast<const T*>(p.a) + i * p.of.a.stride;
    const T* b = static_cast<const T*>(p.b) + i * p.of.b.stride;
    const Out* c = static_cast<const Out*>(p.c) + i * p.of.c.stride;
    Out* d = static_cast<Out*>(p.d) + i * p.of.d.stride;
    for (int64_t column = 0; column < p.of.d.columns; ++column) {
      for (int64_t row = 0; row < p.of.d.rows; ++row) {
        const auto sum = [&](int64_t begin, int64_t end) {
          C result = 0;
          for (int64_t j = begin; j < end; ++j) {
            const int64_t k = (j + p.first_k) % inner;
            result += element(a, p.of.a, p.of.trans_a == CublasOperation::transpose, row, k) *
                      element(b, p.of.b, p.of.trans_b == CublasOperation::transpose, k, column);
          }
          return result;
        };
        C value;
        if (p.in_parts) {
          C* parts = static_cast<C*>(p.workspace);
          parts[0] = sum(0, p.cut);
          parts[1] = sum(p.cut, inner);
          value = parts[0] + parts[1];
        } else {
          value = sum(0, inner);
        }
        value *= static_cast<C>(p.alpha);
        if (p.beta != 0) value += static_cast<C>(p.beta) * widened(c[column * p.of.c.ld + row]);
        if (p.of.epilogue == CublasEpilogue::bias) value += widened(static_cast<const Out*>(p.bias)[row]);
        d[column * p.of.d.ld + row] = narrowed<Out>(value);
      }
    }
  }
}

void product_kernel(Product p) {
  const bool wide = p.of.d.type == CublasType::f32;
  switch (p.of.a.type) {
    case CublasType::f64:
      return multiply<double, double>(p);
    case CublasType::f32:
      return multiply<float, float>(p);
    case CublasType::bf16:
      return wide ? multiply<__nv_bfloat16, float>(p) : multiply<__nv_bfloat16, __nv_bfloat16>(p);
    case CublasType::f16:
      return wide ? multiply<__half, float>(p) : multiply<__half, __half>(p);
  }
}

}  // namespace

size_t size_of_type(CublasType type) { return type == CublasType::f64 ? 8 : is_low(type) ? 2 : 4; }

int64_t inner_of(const Configuration& of) { return of.trans_a == CublasOperation::none ? of.a.columns : of.a.rows; }

CublasStatus configure(const CublasMatmul& matmul, const CublasLayout& a, const CublasLayout& b, const CublasLayout& c,
                       const CublasLayout& d, Configuration& result) {
  result = {matmul.compute, matmul.a, matmul.b, matmul.epilogue, a, b, c, d};
  const auto shape = [](const CublasLayout& of, CublasOperation operation) {
    return operation == CublasOperation::none ? std::pair(of.rows, of.columns) : std::pair(of.columns, of.rows);
  };
  const auto [m, k] = shape(a, matmul.a);
  const auto [inner, n] = shape(b, matmul.b);
  const auto right = std::pair(m, n);
  if (inner != k || right != std::pair(d.rows, d.columns) || right != std::pair(c.rows, c.columns)) {
    return CublasStatus::invalid_value;
  }
  for (const CublasLayout& layout : {a, b, c, d}) {
    if (!is_possible(layout) || layout.batch != d.batch) return CublasStatus::invalid_value;
  }
  if (d.batch > 1 && d.stride < d.ld * (d.columns - 1) + d.rows) return CublasStatus::invalid_value;  // they overlap
  return are_types_supported(matmul, result) ? CublasStatus::success : CublasStatus::not_supported;
}

cudaError_t launch(const Product& product, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = config.blockDim = dim3(1);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, product_kernel, product);
}

}  // namespace troupe::simulated_cublas_lt
