#include "ops/cpu/margin.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/simd.h"

namespace troupe::cpu {
namespace {

struct Target {
  double value = 0.0;  // without the scale
  double slope = 0.0;
};

Target target_of(double cosine, const Margin& margin) {
  if (margin.m1 == 1.0 && margin.m2 == 0.0) return {cosine - margin.m3, 1.0};
  const double bounded = std::clamp(cosine, -kLargestCosine, kLargestCosine);
  const double angle = margin.m1 * std::acos(bounded) + margin.m2;
  const double slope = margin.m1 * std::sin(angle) / std::sqrt(1.0 - bounded * bounded);
  return {std::cos(angle) - margin.m3, bounded == cosine ? slope : 0.0};
}

// The place of the label's class in the shard; -1: it is not here.
template <typename Id>
int64_t place_of(Id label, int64_t first_class, int64_t classes, int64_t ignore_index) {
  const int64_t place = static_cast<int64_t>(label) - first_class;
  return static_cast<int64_t>(label) != ignore_index && place >= 0 && place < classes ? place : -1;
}

}  // namespace

template <typename T, typename Id>
void margin_forward(T* logits, T* slope, const T* cosines, const Id* labels, int64_t rows, int64_t classes,
                    int64_t first_class, int64_t ignore_index, const Margin& margin) {
  const T scale = static_cast<T>(margin.scale);
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = cosines + i * classes;
    T* to = logits + i * classes;
    const int64_t place = place_of(labels[i], first_class, classes, ignore_index);
    const Target target = place < 0 ? Target{} : target_of(static_cast<double>(from[place]), margin);
    map(classes, to, [scale](Vec<T> v) { return v * scale; }, from);
    if (place >= 0) to[place] = static_cast<T>(margin.scale * target.value);
    slope[i] = static_cast<T>(target.slope);
  }
}

template <typename T, typename Id>
void margin_backward(T* dcosines, const T* dlogits, const Id* labels, const T* slope, int64_t rows, int64_t classes,
                     int64_t first_class, int64_t ignore_index, double scale) {
  const T factor = static_cast<T>(scale);
  for (int64_t i = 0; i < rows; ++i) {
    T* to = dcosines + i * classes;
    const int64_t place = place_of(labels[i], first_class, classes, ignore_index);
    map(classes, to, [factor](Vec<T> v) { return v * factor; }, dlogits + i * classes);
    if (place >= 0) to[place] *= slope[i];
  }
}

template <typename T>
struct MarginInstances {
  static constexpr auto m0 = margin_forward<T, int32_t>;
  static constexpr auto m1 = margin_forward<T, int64_t>;
  static constexpr auto m2 = margin_backward<T, int32_t>;
  static constexpr auto m3 = margin_backward<T, int64_t>;
};
template struct MarginInstances<float>;
template struct MarginInstances<double>;

}  // namespace troupe::cpu
