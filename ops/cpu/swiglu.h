// silu(gate) up, the gated unit of Shazeer 2020 ("GLU variants improve Transformer"), in one pass over memory.
//
// T: float, double. Contiguous tensors of n elements; each output may be the same pointer as any input. Re-entrant. An
// element's bits depend on its inputs only.
#pragma once

#include <cstdint>

namespace troupe::cpu {

template <typename T>
void swiglu(T* out, const T* gate, const T* up, int64_t n);

// dgate = dy up silu'(gate), dup = dy silu(gate).
template <typename T>
void swiglu_backward(T* dgate, T* dup, const T* dy, const T* gate, const T* up, int64_t n);

}  // namespace troupe::cpu
