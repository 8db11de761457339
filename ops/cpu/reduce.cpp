#include "ops/cpu/reduce.h"

#include <cmath>
#include <limits>

#include "ops/cpu/row_sums.h"
#include "ops/cpu/strided_loop.h"

namespace troupe::cpu {
namespace {

// Columns that are accumulated at a time: the accumulators stay in the first-level cache.
constexpr int64_t kColumns = 256;

template <typename T>
void accumulate_columns(double* sums, const T* row, int64_t count) {
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) sums[j] += static_cast<double>(row[j]);
}

template <typename T>
T larger(T a, T b) {
  return a > b || a != a ? a : b;
}

template <typename T>
T smaller(T a, T b) {
  return a < b || a != a ? a : b;
}

template <typename T>
T row_minimum(const T* x, int64_t n) {
  T best = std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < n; ++i) best = smaller(best, x[i]);
  return best;
}

// The dims to walk: kept ones and reduced ones apart, and the innermost run of either kind as the row.
struct ReducePlan {
  int64_t kept_shape[kMaxDims];
  int64_t kept_strides[kMaxDims];
  int kept = 0;
  int64_t reduced_shape[kMaxDims];
  int64_t reduced_strides[kMaxDims];
  int reduced = 0;
  int64_t row = 1;
  bool row_is_reduced = true;
  int64_t count = 1;  // elements per output

  ReducePlan(const int64_t* shape, const bool* is_reduced, int ndim) {
    int64_t strides[kMaxDims];
    contiguous_strides(strides, shape, ndim);
    int last = ndim - 1;
    while (last >= 0 && shape[last] == 1) --last;
    if (last >= 0) row_is_reduced = is_reduced[last];
    int d = last;
    for (; d >= 0 && (shape[d] == 1 || is_reduced[d] == row_is_reduced); --d) row *= shape[d];
    for (int i = 0; i <= d; ++i) {
      if (is_reduced[i]) {
        reduced_shape[reduced] = shape[i];
        reduced_strides[reduced++] = strides[i];
      } else {
        kept_shape[kept] = shape[i];
        kept_strides[kept++] = strides[i];
      }
    }
    for (int i = 0; i < ndim; ++i) count *= is_reduced[i] ? shape[i] : 1;
  }
};

// Calls f(offset) for every combination of the outer reduced dims, in order.
template <typename F>
void each_reduced(const ReducePlan& plan, int64_t begin, F f) {
  const StridedLoop<1> loop(plan.reduced_shape, {plan.reduced_strides}, plan.reduced);
  loop.for_each_row([&](const int64_t* at) {
    for (int64_t i = 0; i < loop.row_size(); ++i) f(begin + at[0] + i * loop.row_stride(0));
  });
}

template <typename T>
T reduce_rows(ReduceOp op, const T* in, const ReducePlan& plan, int64_t begin) {
  if (op == ReduceOp::kSum || op == ReduceOp::kMean) {
    double sum = 0.0;
    each_reduced(plan, begin, [&](int64_t at) { sum += row_sum<T>(plan.row, [](Vec<T> v) { return v; }, in + at); });
    return static_cast<T>(op == ReduceOp::kMean ? sum / static_cast<double>(plan.count) : sum);
  }
  const bool is_max = op == ReduceOp::kMax;
  T best = is_max ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
  each_reduced(plan, begin, [&](int64_t at) {
    best = is_max ? larger(best, row_maximum(in + at, plan.row)) : smaller(best, row_minimum(in + at, plan.row));
  });
  return best;
}

template <typename T>
void reduce_columns(ReduceOp op, T* out, const T* in, const ReducePlan& plan, int64_t begin) {
  for (int64_t j = 0; j < plan.row; j += kColumns) {
    const int64_t count = std::min(kColumns, plan.row - j);
    if (op == ReduceOp::kSum || op == ReduceOp::kMean) {
      double sums[kColumns] = {};
      each_reduced(plan, begin, [&](int64_t at) { accumulate_columns(sums, in + at + j, count); });
      const double divisor = op == ReduceOp::kMean ? static_cast<double>(plan.count) : 1.0;
      for (int64_t i = 0; i < count; ++i) out[j + i] = static_cast<T>(sums[i] / divisor);
      continue;
    }
    const bool is_max = op == ReduceOp::kMax;
    const T start = is_max ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
    T* best = out + j;
    for (int64_t i = 0; i < count; ++i) best[i] = start;
    each_reduced(plan, begin, [&](int64_t at) {
      const T* row = in + at + j;
      for (int64_t i = 0; i < count; ++i) best[i] = is_max ? larger(best[i], row[i]) : smaller(best[i], row[i]);
    });
  }
}

}  // namespace

template <typename T>
void reduce(ReduceOp op, T* out, const T* in, const int64_t* shape, const bool* reduced, int ndim) {
  const ReducePlan plan(shape, reduced, ndim);
  const StridedLoop<1> kept(plan.kept_shape, {plan.kept_strides}, plan.kept);
  int64_t written = 0;
  kept.for_each_row([&](const int64_t* at) {
    for (int64_t i = 0; i < kept.row_size(); ++i) {
      const int64_t begin = at[0] + i * kept.row_stride(0);
      if (plan.row_is_reduced) {
        out[written++] = reduce_rows(op, in, plan, begin);
      } else {
        reduce_columns(op, out + written, in, plan, begin);
        written += plan.row;
      }
    }
  });
}

template <typename T>
void sum_rows(T* out, const T* x, int64_t rows, int64_t n, bool accumulate) {
  for (int64_t j = 0; j < n; j += kColumns) {
    const int64_t count = std::min(kColumns, n - j);
    double sums[kColumns] = {};
    for (int64_t i = 0; i < rows; ++i) accumulate_columns(sums, x + i * n + j, count);
    for (int64_t i = 0; i < count; ++i) out[j + i] = static_cast<T>(sums[i]) + (accumulate ? out[j + i] : T(0));
  }
}

template <typename T>
void row_sum_squares(T* out, const T* x, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    out[i] = static_cast<T>(row_sum<T, true>(n, [](Vec<T> v) { return v; }, x + i * n));
  }
}

template <typename T>
T tree_sum(const T* x, int64_t n) {
  if (n <= 0) return T(0);
  if (n == 1) return x[0];
  int64_t left = 1;
  while (left * 2 < n) left *= 2;
  return tree_sum(x, left) + tree_sum(x + left, n - left);
}

template <typename T>
void argmax(int64_t* out, const T* x, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * n;
    int64_t best = 0;
    for (int64_t j = 1; j < n && row[best] == row[best]; ++j) {
      if (row[j] > row[best] || row[j] != row[j]) best = j;
    }
    out[i] = best;
  }
}

template <typename T>
struct ReduceInstances {
  static constexpr auto r0 = reduce<T>;
  static constexpr auto r1 = sum_rows<T>;
  static constexpr auto r2 = row_sum_squares<T>;
  static constexpr auto r3 = tree_sum<T>;
  static constexpr auto r4 = argmax<T>;
};
template struct ReduceInstances<float>;
template struct ReduceInstances<double>;

}  // namespace troupe::cpu
