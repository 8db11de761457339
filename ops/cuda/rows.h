// Kernels that work on rows of the last dim: a warp or a block has a row, and keeps it in registers where it fits, so that
// memory is read once. The order of every sum depends on the row's length alone.
#pragma once

#include "ops/cuda/launch.h"
#include "ops/cuda/packs.h"

namespace troupe::cuda {

template <class C, int N>
struct Values {
  C at[N];
};

// The first `count` of N neighbours; `beyond` for the others. With `packs` all rows are aligned.
template <int N, class T>
__device__ __forceinline__ Values<Compute<T>, N> load_values(const T* from, int64_t count, bool packs,
                                                             Compute<T> beyond = 0) {
  Values<Compute<T>, N> values;
  if (packs && count >= N) {
    const Pack<T, N> pack = load_pack<N>(from);
#pragma unroll
    for (int j = 0; j < N; ++j) values.at[j] = widened(pack.at[j]);
  } else {
#pragma unroll
    for (int j = 0; j < N; ++j) values.at[j] = j < count ? widened(from[j]) : beyond;
  }
  return values;
}

template <int N, class T>
__device__ __forceinline__ void store_values(T* to, int64_t count, bool packs, const Values<Compute<T>, N>& values) {
  if (packs && count >= N) {
    Pack<T, N> pack;
#pragma unroll
    for (int j = 0; j < N; ++j) pack.at[j] = narrowed<T>(values.at[j]);
    store_pack<N>(to, pack);
  } else {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (j < count) to[j] = narrowed<T>(values.at[j]);
    }
  }
}

template <class C>
__device__ __forceinline__ C warp_sum(C value) {
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}
template <class C>
__device__ __forceinline__ C warp_max(C value) {
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    value = larger(value, __shfl_xor_sync(kAllLanes, value, lanes));
  }
  return value;
}

// The threads that have a row: a warp, or all of a block. What they reduce all of them get.
template <int kSize>
class Group {
 public:
  static_assert(kSize % kWarpSize == 0);

  __device__ int lane() const { return static_cast<int>(threadIdx.x) % kSize; }

  template <class C>
  __device__ C sum(C value) const {
    return reduced(value, [](C v) { return warp_sum(v); }, [](C a, C b) { return a + b; });
  }
  template <class C>
  __device__ C max(C value) const {
    return reduced(value, [](C v) { return warp_max(v); }, [](C a, C b) { return larger(a, b); });
  }
  template <class C>
  __device__ C min(C value) const {
    return -max(-value);
  }

 private:
  template <class C, class OfWarp, class Join>
  __device__ C reduced(C value, OfWarp of_warp, Join join) const {
    value = of_warp(value);
    if constexpr (kSize > kWarpSize) {
      C* parts = &shared_memory<C>();
      __syncthreads();  // what was reduced before has been read
      if (threadIdx.x % kWarpSize == 0) parts[threadIdx.x / kWarpSize] = value;
      __syncthreads();
      value = parts[0];
      for (int w = 1; w < kSize / kWarpSize; ++w) value = join(value, parts[w]);
    }
    return value;
  }
};

constexpr int kHeldElements = 32;  // that a thread keeps in registers

// A thread's share of a row: packs of N neighbours, one for each thread in turn. kHeld packs are read once and kept; with
// kHeld = 0 they are read whenever they are visited.
template <class T, int kSize, int kHeld>
class Row {
 public:
  static constexpr int N = kPack<T>;
  using V = Values<Compute<T>, N>;

  __device__ Row(const T* row, int64_t n, bool packs) : row_(row), n_(n), packs_(packs) {
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int64_t first = first_of(k);
      if (first < n) held_[k] = load_values<N>(row + first, n - first, packs);
    }
  }

  // visit(first, count, values): elements first .. first + count - 1, of which values has the first N, and 0 beyond the row.
  template <class Visit>
  __device__ void each(Visit visit) const {
    if constexpr (kHeld > 0) {
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        const int64_t first = first_of(k);
        if (first < n_) visit(first, n_ - first, held_[k]);
      }
    } else {
      for (int64_t first = first_of(0); first < n_; first += kSize * N) {
        visit(first, n_ - first, load_values<N>(row_ + first, n_ - first, packs_));
      }
    }
  }

 private:
  static __device__ int64_t first_of(int k) { return (static_cast<int64_t>(threadIdx.x) % kSize + k * kSize) * N; }

  const T* row_;
  int64_t n_;
  bool packs_;
  V held_[kHeld > 0 ? kHeld : 1];
};

// The largest number of a row, and the sum of e to the power of what its numbers are above `most`; for all threads of its
// group.
template <class T, int kSize, int kHeld>
__device__ __forceinline__ Compute<T> largest_of(const Row<T, kSize, kHeld>& values) {
  using C = Compute<T>;
  constexpr int N = kPack<T>;
  C most = -infinity<C>();
  values.each([&](int64_t, int64_t count, const Values<C, N>& v) {
#pragma unroll
    for (int j = 0; j < N; ++j) most = j < count ? larger(most, v.at[j]) : most;
  });
  return Group<kSize>().max(most);
}
template <class T, int kSize, int kHeld>
__device__ __forceinline__ Compute<T> exp_sum_of(const Row<T, kSize, kHeld>& values, Compute<T> most) {
  using C = Compute<T>;
  constexpr int N = kPack<T>;
  C sum = 0;
  values.each([&](int64_t, int64_t count, const Values<C, N>& v) {
#pragma unroll
    for (int j = 0; j < N; ++j) sum += j < count ? exp(v.at[j] - most) : C(0);
  });
  return Group<kSize>().sum(sum);
}

// op.template run<kSize, kHeld>(row, n) for every row, by all threads of its group together.
template <int kSize, int kHeld, class Op>
__global__ void __launch_bounds__(kThreads) rows_kernel(Op op, int64_t rows, int64_t n) {
  constexpr int kGroups = kThreads / kSize;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * kGroups + static_cast<int>(threadIdx.x) / kSize;
  for (int64_t row = group; row < rows; row += static_cast<int64_t>(gridDim.x) * kGroups) {
    op.template run<kSize, kHeld>(row, n);
  }
}

// Room for the largest number of each warp of a block.
constexpr size_t kGroupBytes = kThreads / kWarpSize * sizeof(double);

// T: the dtype of the rows that are held.
template <class T, class Op>
void for_rows(Stream& stream, int64_t rows, int64_t n, Op op) {
  if (rows == 0) return;
  constexpr int kHeld = kHeldElements / kPack<T>;
  if (n <= kWarpSize * kHeldElements) {
    launch(stream, blocks_for(rows, kThreads / kWarpSize), kThreads, 0, rows_kernel<kWarpSize, kHeld, Op>, op, rows, n);
  } else if (n <= kThreads * kHeldElements) {
    launch(stream, blocks_for(rows, 1), kThreads, kGroupBytes, rows_kernel<kThreads, kHeld, Op>, op, rows, n);
  } else {
    launch(stream, blocks_for(rows, 1), kThreads, kGroupBytes, rows_kernel<kThreads, 0, Op>, op, rows, n);
  }
}

// Whether all rows of n elements of these tensors start where packs do.
template <class T, class... Pointers>
bool rows_take_packs(int64_t n, const Pointers*... data) {
  return n % kPack<T> == 0 && (is_aligned(data, kPackBytes) && ...);
}

inline int64_t row_count(const Shape& shape) {
  int64_t rows = 1;
  for (int d = 0; d < shape.rank() - 1; ++d) rows *= shape[d];
  return rows;
}

}  // namespace troupe::cuda
