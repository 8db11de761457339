// Sums and maxima of rows in a fixed order: vectors of doubles take turns, then a tree over them and their
// lanes. Internal to ops/cpu.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "ops/cpu/vector_math.h"

namespace troupe::cpu {

// Four vectors of doubles; `turn` says which take a vector, and should be a constant.
class WideSum {
 public:
  // With Square, the squares of the lanes, which as doubles are exact for float.
  template <typename T, bool Square = false>
  void add(Vec<T> v, int64_t turn) {
    for (int part = 0; part < kWideParts<T>; ++part) {
      const Vec<double> w = widen<T>(v, part);
      Vec<double>& to = sums_[(turn * kWideParts<T> + part) % 4];
      to += Square ? w * w : w;
    }
  }

  double total() const { return lanes_sum<double>((sums_[0] + sums_[1]) + (sums_[2] + sums_[3])); }

 private:
  Vec<double> sums_[4] = {};
};

// The sum over i of f(in0[i], in1[i], ...), f on vectors. Lanes beyond the row read `beyond`, for which f
// must give 0.
template <typename T, bool Square = false, typename F, typename... In>
inline double row_sum_padded(int64_t n, T beyond, F f, const In*... in) {
  constexpr int64_t lanes = kLanes<T>;
  WideSum sum;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int64_t turn = 0; turn < 4; ++turn) sum.add<T, Square>(f(load(in + i + turn * lanes)...), turn);
  }
  // A turn that is not a constant would put the sums into memory, so the rest all takes the first.
  for (; i + lanes <= n; i += lanes) sum.add<T, Square>(f(load(in + i)...), 0);
  if (i < n) sum.add<T, Square>(f(load_part(in + i, n - i, beyond)...), 0);
  return sum.total();
}

// The same for f that gives 0 for zeros.
template <typename T, bool Square = false, typename F, typename... In>
inline double row_sum(int64_t n, F f, const In*... in) {
  return row_sum_padded<T, Square>(n, T(0), f, in...);
}

// -inf for n = 0; NaN if any element is.
template <typename T>
inline T row_maximum(const T* x, int64_t n) {
  constexpr int64_t lanes = kLanes<T>;
  const T lowest = -std::numeric_limits<T>::infinity();
  Vec<T> best[4] = {splat(lowest), splat(lowest), splat(lowest), splat(lowest)};
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int64_t turn = 0; turn < 4; ++turn) best[turn] = math::max(best[turn], load(x + i + turn * lanes));
  }
  for (; i + lanes <= n; i += lanes) best[0] = math::max(best[0], load(x + i));
  if (i < n) best[1] = math::max(best[1], load_part(x + i, n - i, lowest));
  return lanes_max<T>(math::max(math::max(best[0], best[1]), math::max(best[2], best[3])));
}

// y[i] = exp(x[i] - shift) and their sum; y may be x, and null to sum only.
template <typename T>
inline double exp_and_sum(T* y, const T* x, T shift, int64_t n) {
  constexpr int64_t lanes = kLanes<T>;
  WideSum sum;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
#pragma GCC unroll 2
    for (int64_t turn = 0; turn < 2; ++turn) {
      const Vec<T> e = math::exp(load(x + i + turn * lanes) - shift);
      if (y != nullptr) store(y + i + turn * lanes, e);
      sum.add<T>(e, turn);
    }
  }
  for (; i < n; i += lanes) {
    const int64_t count = std::min(lanes, n - i);
    const bool full = count == lanes;
    // Lanes beyond the row hold -inf, whose exp is 0.
    const Vec<T> e =
        math::exp((full ? load(x + i) : load_part(x + i, count, -std::numeric_limits<T>::infinity())) - shift);
    if (y != nullptr) full ? store(y + i, e) : store_part(y + i, e, count);
    sum.add<T>(e, 0);
  }
  return sum.total();
}

}  // namespace troupe::cpu
