#include "ops/cpu/pool.h"

#include <algorithm>
#include <cmath>

namespace troupe::cpu {
namespace {

// What of a window lies on the plane along one dim: elements begin, begin + step, .. below end. `size` is what the
// window counts in a mean.
struct Span {
  int64_t begin, end, step, size;
};

Span span_of(const MovingWindows& w, size_t d, int64_t i) {
  const int64_t first = i * w.stride[d] - w.padding[d], step = w.dilation[d];
  const int64_t end = std::min(first + (w.kernel[d] - 1) * step + 1, w.in_size[d]);
  const int64_t begin = first >= 0 ? first : first + (-first + step - 1) / step * step;
  return {begin, end, step, w.padding_counts ? w.kernel[d] : end - begin};
}

Span span_of(const SharedOut& w, size_t d, int64_t i) {
  const int64_t in = w.in_size[d], out = w.out_size[d];
  const int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
  return {begin, end, 1, end - begin};
}

// Calls fn(plane of x, index in y, rows, columns) for every window.
template <typename Windows, typename Fn>
void for_each_window(const Windows& windows, int64_t planes, Fn fn) {
  const int64_t in = windows.in_size[0] * windows.in_size[1];
  for (int64_t plane = 0, y = 0; plane < planes; ++plane) {
    for (int64_t p = 0; p < windows.out_size[0]; ++p) {
      const Span rows = span_of(windows, 0, p);
      for (int64_t q = 0; q < windows.out_size[1]; ++q) fn(plane * in, y++, rows, span_of(windows, 1, q));
    }
  }
}

template <typename Fn>
void for_each_element(Span rows, Span columns, int64_t width, Fn fn) {
  for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
    for (int64_t column = columns.begin; column < columns.end; column += columns.step) fn(row * width + column);
  }
}

// The place of the first largest element, or of the first NaN, in a plane. A window holds at least one element.
template <typename T>
int64_t largest(const T* x, Span rows, Span columns, int64_t width) {
  int64_t best = rows.begin * width + columns.begin;
  for_each_element(rows, columns, width, [&](int64_t i) {
    if (x[i] > x[best] || (std::isnan(x[i]) && !std::isnan(x[best]))) best = i;
  });
  return best;
}

template <typename T, typename Windows>
void average(const Windows& windows, int64_t planes, T* y, const T* x) {
  for_each_window(windows, planes, [&](int64_t plane, int64_t at, Span rows, Span columns) {
    double sum = 0;
    for_each_element(rows, columns, windows.in_size[1], [&](int64_t i) { sum += static_cast<double>(x[plane + i]); });
    y[at] = static_cast<T>(sum / static_cast<double>(rows.size * columns.size));
  });
}

template <typename T, typename Windows>
void average_gradient(const Windows& windows, int64_t planes, T* dx, const T* dy) {
  std::fill_n(dx, planes * windows.in_size[0] * windows.in_size[1], T(0));
  for_each_window(windows, planes, [&](int64_t plane, int64_t at, Span rows, Span columns) {
    const T share = dy[at] / static_cast<T>(rows.size * columns.size);
    for_each_element(rows, columns, windows.in_size[1], [&](int64_t i) { dx[plane + i] += share; });
  });
}

}  // namespace

template <typename T>
void max_pool(const MovingWindows& windows, int64_t planes, T* y, const T* x) {
  for_each_window(windows, planes, [&](int64_t plane, int64_t at, Span rows, Span columns) {
    y[at] = x[plane + largest(x + plane, rows, columns, windows.in_size[1])];
  });
}

template <typename T>
void max_pool_gradient(const MovingWindows& windows, int64_t planes, T* dx, const T* dy, const T* x) {
  std::fill_n(dx, planes * windows.in_size[0] * windows.in_size[1], T(0));
  for_each_window(windows, planes, [&](int64_t plane, int64_t at, Span rows, Span columns) {
    dx[plane + largest(x + plane, rows, columns, windows.in_size[1])] += dy[at];
  });
}

template <typename T>
void average_pool(const MovingWindows& windows, int64_t planes, T* y, const T* x) {
  average(windows, planes, y, x);
}

template <typename T>
void average_pool_gradient(const MovingWindows& windows, int64_t planes, T* dx, const T* dy) {
  average_gradient(windows, planes, dx, dy);
}

template <typename T>
void average_pool(const SharedOut& windows, int64_t planes, T* y, const T* x) {
  average(windows, planes, y, x);
}

template <typename T>
void average_pool_gradient(const SharedOut& windows, int64_t planes, T* dx, const T* dy) {
  average_gradient(windows, planes, dx, dy);
}

template void max_pool<float>(const MovingWindows&, int64_t, float*, const float*);
template void max_pool<double>(const MovingWindows&, int64_t, double*, const double*);
template void max_pool_gradient<float>(const MovingWindows&, int64_t, float*, const float*, const float*);
template void max_pool_gradient<double>(const MovingWindows&, int64_t, double*, const double*, const double*);
template void average_pool<float>(const MovingWindows&, int64_t, float*, const float*);
template void average_pool<double>(const MovingWindows&, int64_t, double*, const double*);
template void average_pool_gradient<float>(const MovingWindows&, int64_t, float*, const float*);
template void average_pool_gradient<double>(const MovingWindows&, int64_t, double*, const double*);
template void average_pool<float>(const SharedOut&, int64_t, float*, const float*);
template void average_pool<double>(const SharedOut&, int64_t, double*, const double*);
template void average_pool_gradient<float>(const SharedOut&, int64_t, float*, const float*);
template void average_pool_gradient<double>(const SharedOut&, int64_t, double*, const double*);

}  // namespace troupe::cpu
