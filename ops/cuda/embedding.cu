// Rows of a table by ids, and their gradient.

#include <algorithm>

#include "ops/cuda/kernels.h"
#include "ops/cuda/report.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

// What is held of the table: rows first .. first + count - 1 of `rows`.
struct Held {
  int64_t first, count, rows;
};

// A row that is held elsewhere gives zeros; one that is nowhere is reported, and gives NaN.
template <class T, class Id>
__global__ void __launch_bounds__(kThreads) embedding_kernel(T* y, const T* table, const Id* ids, Held held, int64_t n,
                                                             int64_t dim, bool packs, Reporter reporter) {
  using C = Compute<T>;
  constexpr int N = kPack<T>;
  const int64_t per_row = (dim + N - 1) / N;
  for (int64_t p = global_thread(); p < n * per_row; p += global_threads()) {
    const int64_t i = quotient(p, per_row);
    const int64_t first = (p - i * per_row) * N;
    const auto id = static_cast<int64_t>(ids[i]);
    const int64_t row = id - held.first;
    Values<C, N> values;
    if (row >= 0 && row < held.count) {
      values = load_values<N>(table + row * dim + first, dim - first, packs);
    } else {
      const bool elsewhere = id >= 0 && id < held.rows;
      if (!elsewhere && first == 0) reporter.say(i, id);
      const C beyond = elsewhere ? C(0) : infinity<C>() - infinity<C>();
#pragma unroll
      for (int j = 0; j < N; ++j) values.at[j] = beyond;
    }
    store_values<N>(y + i * dim + first, dim - first, packs, values);
  }
}

// A block has some rows of the table and some of their numbers. It goes through the ids, chunk by chunk, and writes down in
// order those of its rows; each warp then adds up the gradients of one row after another, in the order of the ids.
constexpr int kRows = 32;
constexpr int kSlice = 4;  // numbers of a row per lane
constexpr int kChunk = kThreads;
constexpr int kWarps = kThreads / kWarpSize;

struct Matches {
  int count[kWarps];
  int total;
  int16_t row[kChunk];
  int16_t place[kChunk];
};

template <class T, class Id>
__global__ void __launch_bounds__(kThreads)
    embedding_gradient_kernel(T* dtable, const T* dy, const Id* ids, Held held, int64_t n, int64_t dim) {
  using C = Compute<T>;
  constexpr int kOwn = kRows / kWarps;  // rows of a warp
  Matches& matches = shared_memory<Matches>();
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kRows;
  const int64_t first_number = static_cast<int64_t>(blockIdx.y) * kSlice * kWarpSize + lane;
  C sums[kOwn][kSlice] = {};
  for (int64_t chunk = 0; chunk < n; chunk += kChunk) {
    const int64_t i = chunk + threadIdx.x;
    const int64_t row = i < n ? static_cast<int64_t>(ids[i]) - held.first - first_row : -1;
    const bool mine = row >= 0 && row < kRows && first_row + row < held.count;
    const unsigned of_warp = __ballot_sync(kAllLanes, mine);
    if (lane == 0) matches.count[warp] = __popc(of_warp);
    __syncthreads();
    int before = 0;
    for (int w = 0; w < warp; ++w) before += matches.count[w];
    if (mine) {
      const int at = before + __popc(of_warp & ((1u << lane) - 1));
      matches.row[at] = static_cast<int16_t>(row);
      matches.place[at] = static_cast<int16_t>(threadIdx.x);
    }
    if (threadIdx.x == kThreads - 1) matches.total = before + __popc(of_warp);
    __syncthreads();
    for (int m = 0; m < matches.total; ++m) {
      const int r = matches.row[m];
      if (r % kWarps != warp) continue;
      const T* from = dy + (chunk + matches.place[m]) * dim;
#pragma unroll
      for (int own = 0; own < kOwn; ++own) {
        if (r / kWarps != own) continue;
#pragma unroll
        for (int s = 0; s < kSlice; ++s) {
          const int64_t d = first_number + s * kWarpSize;
          if (d < dim) sums[own][s] += widened(from[d]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int own = 0; own < kOwn; ++own) {
    const int64_t row = first_row + own * kWarps + warp;
    if (row >= held.count) continue;
#pragma unroll
    for (int s = 0; s < kSlice; ++s) {
      const int64_t d = first_number + s * kWarpSize;
      if (d < dim) dtable[row * dim + d] = narrowed<T>(sums[own][s]);
    }
  }
}

}  // namespace

void embedding_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& ids = args.inputs[0];
  const TensorView& table = args.inputs[1];
  const int64_t dim = table.shape[1];
  if (ids.elements() * dim == 0) return;
  with_float(table.dtype, [&](auto zero) {
    with_id(ids.dtype, [&](auto zero_id) {
      using T = decltype(zero);
      using Id = decltype(zero_id);
      T* y = args.outputs[0].as<T>();
      launch(stream, blocks_for(ids.elements() * dim, kThreads * kPack<T>), kThreads, 0, embedding_kernel<T, Id>, y,
             table.as<T>(), ids.as<Id>(), Held{table.offset[0], table.shape[0], table.logical[0]}, ids.elements(), dim,
             rows_take_packs<T>(dim, y, table.as<T>()), reporter_of(args, 0));
    });
  });
}

void embedding_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& ids = args.inputs[0];
  const TensorView& dtable = args.outputs[0];
  const int64_t dim = dtable.shape[1];
  if (dtable.elements() == 0) return;
  with_float(dtable.dtype, [&](auto zero) {
    with_id(ids.dtype, [&](auto zero_id) {
      using T = decltype(zero);
      using Id = decltype(zero_id);
      const dim3 grid(static_cast<unsigned>((dtable.shape[0] + kRows - 1) / kRows),
                      static_cast<unsigned>((dim + kSlice * kWarpSize - 1) / (kSlice * kWarpSize)));
      launch(stream, grid, kThreads, sizeof(Matches), embedding_gradient_kernel<T, Id>, dtable.as<T>(),
             args.inputs[1].as<T>(), ids.as<Id>(), Held{dtable.offset[0], dtable.shape[0], dtable.logical[0]},
             ids.elements(), dim);
    });
  });
}

}  // namespace troupe::cuda
