// Rotary position embedding (Su et al. 2021): each pair of numbers of a row is turned by an angle that grows with the
// row's position.
//
// T: float, double. Re-entrant, given a scratch of its own. `out` may be `x`. The bits of a row depend on the row and
// its position, not on where the part begins.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// Rows of `dim` (even) numbers, [outer, seq, inner, dim]; those of index i along seq stand at position first + i.
struct RopeShape {
  int64_t outer = 0;
  int64_t seq = 0;
  int64_t inner = 0;
  int64_t dim = 0;
  int64_t first = 0;
};

template <typename T>
int64_t rope_scratch_bytes(int64_t seq, int64_t dim);

// With h = dim/2 and the angle a = position theta^(-j/h) for j < h: out[j] = x[j] cos a - x[j+h] sin a,
// out[j+h] = x[j+h] cos a + x[j] sin a. (Numbers j and j+h are a pair, as in the published Llama checkpoints.)
// inverse: by -a, which is also the gradient.
template <typename T>
void rope(T* out, const T* x, const RopeShape& shape, double theta, bool inverse, void* scratch);

}  // namespace troupe::cpu
