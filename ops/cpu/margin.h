// Logits of a margin softmax from cosines[rows,classes]: the class of a row's label has to win by a margin.
//
// T: float, double; Id: int32_t, int64_t. All functions work on a shard with classes
// [first_class, first_class + classes) and are re-entrant. Outputs may be the input of the same shape.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// With theta the angle whose cosine is given, the label's logit is scale (cos(m1 theta + m2) - m3). m1 = 1, m3 = 0 is
// ArcFace (Deng et al. 2019, where the combined form stands too), m1 = 1, m2 = 0 CosFace (Wang et al. 2018),
// m2 = m3 = 0 SphereFace (Liu et al. 2017).
struct Margin {
  double scale = 1.0;
  double m1 = 1.0;
  double m2 = 0.0;
  double m3 = 0.0;
};

// The derivative by the cosine grows without bound towards +-1; where the angle counts, cosines beyond +-this are taken
// for this.
inline constexpr double kLargestCosine = 1.0 - 1e-6;

// logits = scale cosines, with the margin at the label; slope[row] = d(label's logit) / d(cosine) / scale, 0 where the
// label is outside the shard or ignore_index.
template <typename T, typename Id>
void margin_forward(T* logits, T* slope, const T* cosines, const Id* labels, int64_t rows, int64_t classes,
                    int64_t first_class, int64_t ignore_index, const Margin& margin);

// dcosines = scale dlogits, times slope[row] at the label.
template <typename T, typename Id>
void margin_backward(T* dcosines, const T* dlogits, const Id* labels, const T* slope, int64_t rows, int64_t classes,
                     int64_t first_class, int64_t ignore_index, double scale);

}  // namespace troupe::cpu
