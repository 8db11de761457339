// Element-wise reduction of several buffers along a given tree: the canonical order of gradient sums.
//
// T: float, double. All functions are re-entrant.
#pragma once

#include <cstdint>

namespace troupe::cpu {

enum class TreeOp { kSum, kMax, kMin };

// out[i] for i in [lo, hi) = the value of a postfix program over inputs[..][i]: an int >= 0 pushes that
// input, -1 combines the two on top (left = the lower one). Partial sums need at most kTreeDepth places.
// Works block by block, so that partial results stay in cache. `out` may be one of the inputs. An empty
// program leaves out untouched.
inline constexpr int kTreeDepth = 32;
template <typename T>
void reduce_tree(TreeOp op, T* out, const T* const* inputs, int64_t n_inputs, const int* program, int64_t program_len,
                 int64_t lo, int64_t hi);

template <typename T>
void sum_tree(T* out, const T* const* inputs, int64_t n_inputs, const int* program, int64_t program_len, int64_t lo,
              int64_t hi);

// The program of the binary tree over inputs [0, n) whose left child takes the largest power of two below the
// count: 2 n - 1 ints. Returns the length.
int64_t canonical_tree_program(int* program, int64_t n);

}  // namespace troupe::cpu
