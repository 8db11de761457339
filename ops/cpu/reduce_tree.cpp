#include "ops/cpu/reduce_tree.h"

#include <algorithm>
#include <cassert>

#include "ops/cpu/vector_math.h"

namespace troupe::cpu {
namespace {

// Elements per block: with a handful of live partial sums it stays in the first-level cache.
constexpr int64_t kBlock = 512;

template <typename T, typename F>
void run_program(F combine, T* out, const T* const* inputs, const int* program, int64_t program_len, int64_t lo,
                 int64_t hi) {
  T partial[kTreeDepth][kBlock];
  const bool streamed = can_stream(out + lo, hi - lo);
  for (int64_t begin = lo; begin < hi; begin += kBlock) {
    const int64_t count = std::min(kBlock, hi - begin);
    // Inputs are pushed as pointers; only results of combining take a buffer, the one of their place on the
    // stack.
    const T* stack[kTreeDepth];
    int depth = 0;
    for (int64_t i = 0; i < program_len; ++i) {
      if (program[i] >= 0) {
        assert(depth < kTreeDepth);
        stack[depth++] = inputs[program[i]] + begin;
        continue;
      }
      assert(depth >= 2);
      --depth;
      const bool last = i + 1 == program_len;
      T* to = last ? out + begin : partial[depth - 1];
      if (last && streamed) {
        map_streamed(count, to, combine, stack[depth - 1], stack[depth]);
      } else {
        map(count, to, combine, stack[depth - 1], stack[depth]);
      }
      stack[depth - 1] = to;
    }
    if (depth == 1 && stack[0] != out + begin) std::copy(stack[0], stack[0] + count, out + begin);
  }
  if (streamed) stream_fence();
}

int64_t write_tree(int* program, int64_t first, int64_t n) {
  if (n == 1) {
    *program = static_cast<int>(first);
    return 1;
  }
  int64_t left = 1;
  while (left * 2 < n) left *= 2;
  int64_t length = write_tree(program, first, left);
  length += write_tree(program + length, first + left, n - left);
  program[length] = -1;
  return length + 1;
}

}  // namespace

template <typename T>
void reduce_tree(TreeOp op, T* out, const T* const* inputs, [[maybe_unused]] int64_t n_inputs, const int* program,
                 int64_t program_len, int64_t lo, int64_t hi) {
  using V = Vec<T>;
  switch (op) {
    case TreeOp::kSum:
      return run_program([](V a, V b) { return a + b; }, out, inputs, program, program_len, lo, hi);
    case TreeOp::kMax:
      return run_program([](V a, V b) { return math::max(a, b); }, out, inputs, program, program_len, lo, hi);
    case TreeOp::kMin:
      return run_program([](V a, V b) { return math::min(a, b); }, out, inputs, program, program_len, lo, hi);
  }
}

template <typename T>
void sum_tree(T* out, const T* const* inputs, int64_t n_inputs, const int* program, int64_t program_len, int64_t lo,
              int64_t hi) {
  reduce_tree(TreeOp::kSum, out, inputs, n_inputs, program, program_len, lo, hi);
}

int64_t canonical_tree_program(int* program, int64_t n) { return n <= 0 ? 0 : write_tree(program, 0, n); }

template <typename T>
struct TreeInstances {
  static constexpr auto t0 = reduce_tree<T>;
  static constexpr auto t1 = sum_tree<T>;
};
template struct TreeInstances<float>;
template struct TreeInstances<double>;

}  // namespace troupe::cpu
