#include "ops/cpu/swiglu.h"

#include <algorithm>

#include "ops/cpu/vector_math.h"

namespace troupe::cpu {

template <typename T>
void swiglu(T* out, const T* gate, const T* up, int64_t n) {
  map(n, out, [](Vec<T> g, Vec<T> u) { return g * math::sigmoid(g) * u; }, gate, up);
}

template <typename T>
void swiglu_backward(T* dgate, T* dup, const T* dy, const T* gate, const T* up, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes<T>) {
    const int64_t count = std::min(kLanes<T>, n - i);
    const bool full = count == kLanes<T>;
    const auto read = [=](const T* from) { return full ? load(from + i) : load_part(from + i, count); };
    const auto write = [=](T* to, Vec<T> v) { full ? store(to + i, v) : store_part(to + i, v, count); };
    const Vec<T> d = read(dy), g = read(gate), u = read(up);
    const Vec<T> s = math::sigmoid(g);
    write(dgate, d * u * s * (T(1) + g * (T(1) - s)));
    write(dup, d * (g * s));
  }
}

template void swiglu<float>(float*, const float*, const float*, int64_t);
template void swiglu<double>(double*, const double*, const double*, int64_t);
template void swiglu_backward<float>(float*, float*, const float*, const float*, const float*, int64_t);
template void swiglu_backward<double>(double*, double*, const double*, const double*, const double*, int64_t);

}  // namespace troupe::cpu
