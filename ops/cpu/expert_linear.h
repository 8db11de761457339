// The linear layers of experts: one matrix per expert, and of each expert's buffer only the rows that are there.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// Buffers x[experts, batch, places, in] against w[experts, out, in]. Of expert e and row b the first
// counts[e, b] - first_place of the places hold tokens; the others are zeros in every result. counts null: all do.
struct ExpertRows {
  int64_t experts = 0, batch = 0, places = 0;
  int64_t first_place = 0;
  const int32_t* counts = nullptr;

  int64_t used(int64_t expert, int64_t row) const;
};

// y[e, b, c, out] = sum over in of x[e, b, c, in] w[e, out, in]; `transposed`: w is stored [e, in, out]. T: float,
// double, BFloat16, Float16.
template <typename T>
void expert_linear(T* y, const T* x, const T* w, int64_t in, int64_t out, bool transposed, const ExpertRows& rows);

// dw[e, out, in] = sum over b and c of dy[e, b, c, out] x[e, b, c, in]. `packed`: room for batch * places rows of in +
// out, where counts are given. S: float for BFloat16 and Float16, else T.
template <typename T, typename S>
void expert_linear_weight_gradient(S* dw, const T* x, const T* dy, int64_t in, int64_t out, const ExpertRows& rows,
                                   T* packed);

}  // namespace troupe::cpu
