#include <algorithm>
#include <cmath>

#include "ops/cpu/pointwise.h"
#include "ops/cpu/strided_loop.h"
#include "ops/cpu/vector_math.h"

namespace troupe::cpu {
namespace {

// Elements that are gathered at a time from an operand whose rows are not contiguous.
constexpr int64_t kChunk = 256;

template <typename V>
V power(V a, V b) {
  for (size_t i = 0; i < sizeof(V) / sizeof(a[0]); ++i) a[i] = std::pow(a[i], b[i]);
  return a;
}

// Calls run(f) with the op as a function on vectors: one dispatch per call, not per row.
template <typename T, typename Run>
void with_binary(BinaryOp op, Run run) {
  using V = Vec<T>;
  switch (op) {
    case BinaryOp::kAdd:
      return run([](V a, V b) { return a + b; });
    case BinaryOp::kSub:
      return run([](V a, V b) { return a - b; });
    case BinaryOp::kMul:
      return run([](V a, V b) { return a * b; });
    case BinaryOp::kDiv:
      return run([](V a, V b) { return a / b; });
    case BinaryOp::kMin:
      return run([](V a, V b) { return math::min(a, b); });
    case BinaryOp::kMax:
      return run([](V a, V b) { return math::max(a, b); });
    case BinaryOp::kPow:
      return run([](V a, V b) { return power(a, b); });
  }
}

template <typename T, typename Run>
void with_compare(CompareOp op, Run run) {
  switch (op) {
    case CompareOp::kEqual:
      return run([](T a, T b) { return a == b; });
    case CompareOp::kNotEqual:
      return run([](T a, T b) { return a != b; });
    case CompareOp::kLess:
      return run([](T a, T b) { return a < b; });
    case CompareOp::kLessEqual:
      return run([](T a, T b) { return a <= b; });
    case CompareOp::kGreater:
      return run([](T a, T b) { return a > b; });
    case CompareOp::kGreaterEqual:
      return run([](T a, T b) { return a >= b; });
  }
}

// A row of an operand as contiguous chunks: in place if its stride is 1, otherwise copied to a buffer.
template <typename T>
class RowReader {
 public:
  void start(const T* row, int64_t stride, int64_t n) {
    row_ = row;
    stride_ = stride;
    if (stride == 0) std::fill(buffer_, buffer_ + std::min(n, kChunk), *row);
  }

  const T* chunk(int64_t begin, int64_t count) {
    if (stride_ == 1) return row_ + begin;
    if (stride_ != 0) {
      for (int64_t i = 0; i < count; ++i) buffer_[i] = row_[(begin + i) * stride_];
    }
    return buffer_;
  }

 private:
  const T* row_ = nullptr;
  int64_t stride_ = 0;
  T buffer_[kChunk];
};

}  // namespace

void broadcast_strides(int64_t* strides, const int64_t* operand_shape, int operand_ndim, const int64_t* shape,
                       int ndim) {
  int64_t step = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    const int from = d - (ndim - operand_ndim);
    const int64_t size = from >= 0 ? operand_shape[from] : 1;
    strides[d] = size == 1 && shape[d] != 1 ? 0 : step;
    step *= size;
  }
}

template <typename T>
void binary(BinaryOp op, T* out, const T* a, const T* b, int64_t n) {
  with_binary<T>(op, [=](auto f) { map(n, out, f, a, b); });
}

template <typename T>
void binary_scalar(BinaryOp op, T* out, const T* x, T c, int64_t n) {
  // The common square: exactly what pow gives, without its cost.
  if (op == BinaryOp::kPow && c == T(2)) return map(n, out, [](Vec<T> v) { return v * v; }, x);
  with_binary<T>(op, [=](auto f) { map(n, out, [f, c](Vec<T> v) { return f(v, splat(c)); }, x); });
}

template <typename T>
void scalar_binary(BinaryOp op, T* out, T c, const T* x, int64_t n) {
  with_binary<T>(op, [=](auto f) { map(n, out, [f, c](Vec<T> v) { return f(splat(c), v); }, x); });
}

template <typename T>
void binary_row(BinaryOp op, T* out, const T* a, const T* b, int64_t m, int64_t n) {
  with_binary<T>(op, [=](auto f) {
    for (int64_t i = 0; i < m; ++i) map(n, out + i * n, f, a + i * n, b);
  });
}

template <typename T>
void binary_broadcast(BinaryOp op, T* out, const T* a, const int64_t* a_strides, const T* b, const int64_t* b_strides,
                      const int64_t* shape, int ndim) {
  int64_t out_strides[kMaxDims];
  contiguous_strides(out_strides, shape, ndim);
  const StridedLoop<3> loop(shape, {out_strides, a_strides, b_strides}, ndim);
  const int64_t n = loop.row_size();
  const int64_t a_step = loop.row_stride(1);
  const int64_t b_step = loop.row_stride(2);
  with_binary<T>(op, [&](auto f) {
    RowReader<T> left;
    RowReader<T> right;
    loop.for_each_row([&](const int64_t* at) {
      if (a_step == 1 && b_step == 1) return map(n, out + at[0], f, a + at[1], b + at[2]);
      left.start(a + at[1], a_step, n);
      right.start(b + at[2], b_step, n);
      for (int64_t i = 0; i < n; i += kChunk) {
        const int64_t count = std::min(kChunk, n - i);
        map(count, out + at[0] + i, f, left.chunk(i, count), right.chunk(i, count));
      }
    });
  });
}

template <typename T>
void compare_broadcast(CompareOp op, uint8_t* out, const T* a, const int64_t* a_strides, const T* b,
                       const int64_t* b_strides, const int64_t* shape, int ndim) {
  int64_t out_strides[kMaxDims];
  contiguous_strides(out_strides, shape, ndim);
  const StridedLoop<3> loop(shape, {out_strides, a_strides, b_strides}, ndim);
  const int64_t n = loop.row_size();
  with_compare<T>(op, [&](auto f) {
    RowReader<T> left;
    RowReader<T> right;
    loop.for_each_row([&](const int64_t* at) {
      left.start(a + at[1], loop.row_stride(1), n);
      right.start(b + at[2], loop.row_stride(2), n);
      for (int64_t i = 0; i < n; i += kChunk) {
        const int64_t count = std::min(kChunk, n - i);
        const T* x = left.chunk(i, count);
        const T* y = right.chunk(i, count);
        uint8_t* to = out + at[0] + i;
        for (int64_t j = 0; j < count; ++j) to[j] = f(x[j], y[j]);
      }
    });
  });
}

template <typename T>
void compare_scalar(CompareOp op, uint8_t* out, const T* x, T c, int64_t n) {
  with_compare<T>(op, [=](auto f) {
    for (int64_t i = 0; i < n; ++i) out[i] = f(x[i], c);
  });
}

template <typename T>
void where(T* out, const uint8_t* condition, const T* a, const T* b, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const T x = a[i];
    const T y = b[i];
    out[i] = condition[i] != 0 ? x : y;
  }
}

template <typename T>
void where_broadcast(T* out, const uint8_t* condition, const int64_t* condition_strides, const T* a,
                     const int64_t* a_strides, const T* b, const int64_t* b_strides, const int64_t* shape, int ndim) {
  int64_t out_strides[kMaxDims];
  contiguous_strides(out_strides, shape, ndim);
  const StridedLoop<4> loop(shape, {out_strides, condition_strides, a_strides, b_strides}, ndim);
  const int64_t n = loop.row_size();
  RowReader<uint8_t> choice;
  RowReader<T> left;
  RowReader<T> right;
  loop.for_each_row([&](const int64_t* at) {
    choice.start(condition + at[1], loop.row_stride(1), n);
    left.start(a + at[2], loop.row_stride(2), n);
    right.start(b + at[3], loop.row_stride(3), n);
    for (int64_t i = 0; i < n; i += kChunk) {
      const int64_t count = std::min(kChunk, n - i);
      where(out + at[0] + i, choice.chunk(i, count), left.chunk(i, count), right.chunk(i, count), count);
    }
  });
}

template <typename T>
struct BinaryInstances {
  static constexpr auto b0 = binary<T>;
  static constexpr auto b1 = binary_scalar<T>;
  static constexpr auto b2 = scalar_binary<T>;
  static constexpr auto b3 = binary_row<T>;
  static constexpr auto b4 = binary_broadcast<T>;
};
template struct BinaryInstances<float>;
template struct BinaryInstances<double>;

template <typename T>
struct ChoiceInstances {
  static constexpr auto c0 = compare_broadcast<T>;
  static constexpr auto c1 = compare_scalar<T>;
  static constexpr auto c2 = where<T>;
  static constexpr auto c3 = where_broadcast<T>;
};
template struct ChoiceInstances<float>;
template struct ChoiceInstances<double>;
template struct ChoiceInstances<int32_t>;
template struct ChoiceInstances<int64_t>;
template struct ChoiceInstances<uint8_t>;

}  // namespace troupe::cpu
